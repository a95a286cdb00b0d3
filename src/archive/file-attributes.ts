import { isErrno } from "../base/errors.ts";
import { lsetxattr } from "../linux/xattr.ts";
import type { TarEntry } from "./tar-entry.ts";
import { storableXattrs } from "./xattr-rules.ts";

/**
 * Sets the extended attributes of an entry that a layer keeps. Where the file system has no such class (ENOTSUP), or the file
 * may have none (EPERM: user.* on a symlink or device), the attribute is left out, as containerd does.
 */
export function setXattrs(path: Buffer, { xattrs, type }: Pick<TarEntry, "xattrs" | "type">): void {
  if (xattrs.size === 0) return;
  for (const [name, value] of storableXattrs(xattrs, type)) {
    try {
      lsetxattr(path, name, value);
    } catch (error) {
      if (!isErrno(error, "ENOTSUP") && !isErrno(error, "EOPNOTSUPP") && !isErrno(error, "EPERM")) throw error;
    }
  }
}
