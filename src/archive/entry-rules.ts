import type { TarEntry } from "./tar-entry.ts";
import { malformed } from "./tar-header.ts";

/** uid_t and gid_t have 32 bits, and the last value stands for "leave it as it is" (chown(2)). */
const maxId = 2 ** 32 - 2;
/** The kernel's dev_t: 12 and 20 bits. */
const maxMajor = 2 ** 12 - 1;
const maxMinor = 2 ** 20 - 1;
/** PATH_MAX without its zero byte. */
const maxLinkBytes = 4095;
/** XATTR_LIST_MAX and XATTR_SIZE_MAX are 64 KiB each; no file system takes more in all. */
export const maxXattrBytes = 64 * 1024;

/**
 * What no file can be. A form that a layer is unpacked to would find out by itself, each in its own way and some not at all: an
 * id over 32 bits, cut off, may be root's.
 *
 * @throws invalid-argument
 */
export function checkEntry(entry: TarEntry): void {
  const refuse = (what: string): never => {
    throw malformed(`${JSON.stringify(entry.path.slice(0, 100))} has ${what}`);
  };
  if (entry.path.includes("\0") || entry.linkName.includes("\0")) refuse("a name with a zero byte");
  if (entry.uid < 0 || entry.uid > maxId) refuse(`the owner ${entry.uid}`);
  if (entry.gid < 0 || entry.gid > maxId) refuse(`the group ${entry.gid}`);
  if (entry.type === "symlink" && (entry.linkName === "" || entry.linkName.length > maxLinkBytes)) {
    refuse(`a link target of ${entry.linkName.length} bytes`);
  }
  if (entry.type === "char" || entry.type === "block") {
    const { devMajor, devMinor } = entry;
    if (devMajor < 0 || devMajor > maxMajor || devMinor < 0 || devMinor > maxMinor) refuse(`the device number ${devMajor}:${devMinor}`);
  }
  let bytes = 0;
  for (const [name, value] of entry.xattrs) {
    if (name.includes("\0")) refuse("an attribute whose name has a zero byte");
    bytes += name.length + value.length;
  }
  if (bytes > maxXattrBytes) refuse(`${bytes} bytes of extended attributes`);
}
