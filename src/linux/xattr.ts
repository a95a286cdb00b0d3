import { constants } from "node:os";
import { type CString, check, cstr, declare, lastErrno } from "./libc.ts";

const cSet = declare<(path: CString, name: CString, value: Buffer, size: number, flags: number) => number>(
  "int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)",
);
const cGet = declare<(path: CString, name: CString, value: Buffer, size: number) => number>(
  "long lgetxattr(const char *path, const char *name, void *value, size_t size)",
);
const cList = declare<(path: CString, list: Buffer, size: number) => number>("long llistxattr(const char *path, void *list, size_t size)");
const cRemove = declare<(path: CString, name: CString) => number>("int lremovexattr(const char *path, const char *name)");

// The kernel's limits: XATTR_SIZE_MAX and XATTR_LIST_MAX.
const maxBytes = 65_536;

/** lsetxattr(2): sets an extended attribute of the file itself, not of what a symlink points to. The value is raw bytes. */
export function lsetxattr(path: CString, name: CString, value: Buffer): void {
  check(cSet(cstr(path, "lsetxattr"), cstr(name, "lsetxattr"), value, value.length, 0), "lsetxattr", path, name.toString());
}

/** lgetxattr(2): the value's bytes; undefined when the file has no such attribute or the file system has none at all. */
export function lgetxattr(path: CString, name: CString): Buffer | undefined {
  const value = Buffer.allocUnsafe(maxBytes);
  const length = cGet(cstr(path, "lgetxattr"), cstr(name, "lgetxattr"), value, maxBytes);
  if (length < 0) {
    const errno = lastErrno();
    if (errno === constants.errno.ENODATA || errno === constants.errno.EOPNOTSUPP) return undefined;
  }
  return Buffer.from(value.subarray(0, check(length, "lgetxattr", path, name.toString())));
}

/** llistxattr(2): the names of the file's extended attributes. */
export function llistxattr(path: CString): string[] {
  const list = Buffer.allocUnsafe(maxBytes);
  const length = check(cList(cstr(path, "llistxattr"), list, maxBytes), "llistxattr", path);
  return list.toString("utf8", 0, length).split("\0").slice(0, -1);
}

/** lremovexattr(2). */
export function lremovexattr(path: CString, name: CString): void {
  check(cRemove(cstr(path, "lremovexattr"), cstr(name, "lremovexattr")), "lremovexattr", path, name.toString());
}
