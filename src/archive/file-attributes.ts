import { chmodSync } from "node:fs";
import { isErrno } from "../base/errors.ts";
import { lsetxattr } from "../linux/xattr.ts";

/**
 * Sets the extended attributes of an entry. Those of the "trusted." class are overlayfs' own (a layer that brought
 * trusted.overlay.redirect could graft any directory of another layer), so they are left out, as is SELinux' label, which
 * belongs to this machine. Where the file system has no such class (ENOTSUP), the attribute is left out, as containerd does.
 */
export function setXattrs(path: Buffer, xattrs: ReadonlyMap<string, Buffer>): void {
  for (const [name, value] of xattrs) {
    if (name.startsWith("trusted.") || name === "security.selinux") continue;
    try {
      lsetxattr(path, name, value);
    } catch (error) {
      // EPERM: user.* on a symlink or device.
      if (!isErrno(error, "ENOTSUP") && !isErrno(error, "EOPNOTSUPP") && !isErrno(error, "EPERM")) throw error;
    }
  }
}

/** chmod of something known to be no symlink. */
export function chmod(path: Buffer, mode: number): void {
  chmodSync(path, mode);
}
