/**
 * The extended attributes of a tar entry that a layer keeps. Those of the "trusted." class are overlayfs' own (a layer that
 * brought trusted.overlay.redirect could graft any directory of another layer), so they are left out, as is SELinux' label,
 * which belongs to this machine.
 */
export function storableXattrs(xattrs: ReadonlyMap<string, Buffer>): Map<string, Buffer> {
  return new Map([...xattrs].filter(([name]) => !name.startsWith("trusted.") && name !== "security.selinux" && !/^[a-z]+\.$/.test(name)));
}
