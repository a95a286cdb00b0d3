import { readSync } from "node:fs";
import { AT_EMPTY_PATH, AT_FDCWD } from "./at.ts";
import { closeFd } from "./files.ts";
import { type CString, check, cstr, declare, errnoError, lastErrno } from "./libc.ts";

// The file-descriptor based mount calls of Linux 5.2 and later. Their numbers are the same on all architectures.
const SYS = { open_tree: 428, move_mount: 429, fsopen: 430, fsconfig: 431, fsmount: 432, mount_setattr: 442 };

const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const AT_RECURSIVE = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH = 0x4;
const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;
const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_CMD_CREATE = 6;

export const MOUNT_ATTR_RDONLY = 0x1n;
export const MOUNT_ATTR_NOSUID = 0x2n;
export const MOUNT_ATTR_NODEV = 0x4n;
export const MOUNT_ATTR_NOEXEC = 0x8n;
export const MOUNT_ATTR_IDMAP = 0x10_0000n;

const call3 = declare<(call: number, dir: number, path: CString, flags: number) => number>(
  "long syscall(long call, int dir, const char *path, unsigned int flags)",
);
const callMove = declare<(call: number, fromDir: number, from: CString, toDir: number, to: CString, flags: number) => number>(
  "long syscall(long call, int fromDir, const char *from, int toDir, const char *to, unsigned int flags)",
);
const callSetattr = declare<(call: number, dir: number, path: CString, flags: number, attr: BigUint64Array, size: number) => number>(
  "long syscall(long call, int dir, const char *path, unsigned int flags, void *attr, size_t size)",
);
const callFsopen = declare<(call: number, type: CString, flags: number) => number>(
  "long syscall(long call, const char *type, unsigned int flags)",
);
const callFsconfig = declare<
  (call: number, fd: number, command: number, key: CString | null, value: CString | null, aux: number) => number
>("long syscall(long call, int fd, unsigned int command, const char *key, const char *value, int aux)");
const callFsmount = declare<(call: number, fd: number, flags: number, attributes: number) => number>(
  "long syscall(long call, int fd, unsigned int flags, unsigned int attributes)",
);

/** open_tree(2): a detached copy of the mount (with `recursive`, of all below it too) as a descriptor; closing it drops the copy. */
export function openTree(path: CString, options: { recursive?: boolean } = {}): number {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (options.recursive === true ? AT_RECURSIVE : 0);
  return check(call3(SYS.open_tree, AT_FDCWD, cstr(path, "open_tree"), flags), "open_tree", path);
}

/** move_mount(2): attaches a detached mount at `target`. */
export function moveMount(mountFd: number, target: CString): void {
  check(callMove(SYS.move_mount, mountFd, "", AT_FDCWD, cstr(target, "move_mount"), MOVE_MOUNT_F_EMPTY_PATH), "move_mount", target);
}

/** mount_setattr(2) on a detached mount. For MOUNT_ATTR_IDMAP, `usernsFd` is the user namespace whose maps apply. */
export function mountSetattr(
  mountFd: number,
  options: { set?: bigint; clear?: bigint; propagation?: number; usernsFd?: number; recursive?: boolean },
): void {
  // struct mount_attr
  const attr = BigUint64Array.of(options.set ?? 0n, options.clear ?? 0n, BigInt(options.propagation ?? 0), BigInt(options.usernsFd ?? 0));
  const flags = AT_EMPTY_PATH | (options.recursive === true ? AT_RECURSIVE : 0);
  check(callSetattr(SYS.mount_setattr, mountFd, "", flags, attr, 32), "mount_setattr", `mount fd ${mountFd}`);
}

/**
 * Mounts a file system through fsopen(2), option by option: no limit of a page for all options together, as mount(2) has (an
 * overlay of many layers), and the kernel says in words what it did not like. A value of true is an option without a value.
 */
export function mountFs(options: {
  type: string;
  source: string;
  target: string;
  options: readonly (readonly [string, string | true])[];
}): void {
  const fd = check(callFsopen(SYS.fsopen, cstr(options.type, "fsopen"), FSOPEN_CLOEXEC), "fsopen", options.type);
  const configure = (command: number, key: string | null, value: string | null): void => {
    const result = callFsconfig(
      SYS.fsconfig,
      fd,
      command,
      key === null ? null : cstr(key, "fsconfig"),
      value === null ? null : cstr(value, "fsconfig"),
      0,
    );
    if (result >= 0) return;
    const errno = lastErrno();
    const what = key === null ? "" : ` option ${key}${value === null ? "" : `=${value}`}`;
    throw errnoError(errno, "mount", `${options.target}: ${options.type}${what}${complaints(fd)}`, options.target);
  };
  try {
    configure(FSCONFIG_SET_STRING, "source", options.source);
    for (const [key, value] of options.options)
      configure(value === true ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, key, value === true ? null : value);
    configure(FSCONFIG_CMD_CREATE, null, null);
    const mountFd = check(callFsmount(SYS.fsmount, fd, FSMOUNT_CLOEXEC, 0), "fsmount", options.target);
    try {
      moveMount(mountFd, options.target);
    } finally {
      closeFd(mountFd);
    }
  } finally {
    closeFd(fd);
  }
}

/** The messages that wait in an fsopen descriptor: one a read, "e overlay: ..." for an error. */
function complaints(fd: number): string {
  const lines: string[] = [];
  const line = Buffer.alloc(4096);
  try {
    while (lines.length < 16)
      lines.push(
        line
          .toString("utf8", 0, readSync(fd, line))
          .trim()
          .replace(/^[ewi] /, ""),
      );
  } catch {
    // ENODATA: that was all.
  }
  return lines.length === 0 ? "" : ` (${lines.join("; ")})`;
}

/** Whether this kernel has mount_setattr(2), and so recursive read-only and idmapped mounts (5.12; overlayfs idmapped from 5.19). */
export function hasMountSetattr(): boolean {
  try {
    mountSetattr(-1, {});
    return true;
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "ENOSYS");
  }
}
