import type { TarEntry } from "./tar-entry.ts";

/**
 * The extended attributes of a tar entry that a layer keeps. Those of the "trusted." class are overlayfs' own (a layer that
 * brought trusted.overlay.redirect could graft any directory of another layer), so they are left out, as is SELinux' label,
 * which belongs to this machine. Those of the "user." class only files and directories can have (xattr(7)).
 */
export function storableXattrs(xattrs: ReadonlyMap<string, Buffer>, type: TarEntry["type"]): Map<string, Buffer> {
  const user = type === "file" || type === "directory";
  return new Map(
    [...xattrs].filter(
      ([name]) =>
        (user || !name.startsWith("user.")) && !name.startsWith("trusted.") && name !== "security.selinux" && !/^[a-z]+\.$/.test(name),
    ),
  );
}
