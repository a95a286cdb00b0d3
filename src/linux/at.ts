import { constants as fsConstants } from "node:fs";
import { constants } from "node:os";
import { closeFd, O_CLOEXEC, O_PATH } from "./files.ts";
import { type CString, check, cstr, declare, lastErrno, retryEintr } from "./libc.ts";

// Calls relative to a directory's descriptor: with them a tree is written without a path that someone could bend with a
// symlink in between. Names are single components unless a caller knows better.

const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_REMOVEDIR = 0x200;
export const AT_EMPTY_PATH = 0x1000;

const RESOLVE_NO_MAGICLINKS = 0x02n;
const RESOLVE_NO_SYMLINKS = 0x04n;
const RESOLVE_BENEATH = 0x08n;
const RESOLVE_IN_ROOT = 0x10n;
const SYS_openat2 = 437;

const cOpenat2 = declare<(call: number, dir: number, path: CString, how: BigUint64Array, size: number) => number>(
  "long syscall(long call, int dir, const char *path, void *how, size_t size)",
);
const cOpenat = declare<(dir: number, path: CString, flags: number, mode: number) => number>(
  "int openat(int dir, const char *path, int flags, unsigned int mode)",
);
const cMkdirat = declare<(dir: number, path: CString, mode: number) => number>("int mkdirat(int dir, const char *path, unsigned int mode)");
const cMknodat = declare<(dir: number, path: CString, mode: number, dev: bigint) => number>(
  "int mknodat(int dir, const char *path, unsigned int mode, uint64_t dev)",
);
const cSymlinkat = declare<(target: CString, dir: number, path: CString) => number>(
  "int symlinkat(const char *target, int dir, const char *path)",
);
const cLinkat = declare<(fromDir: number, from: CString, toDir: number, to: CString, flags: number) => number>(
  "int linkat(int fromDir, const char *from, int toDir, const char *to, int flags)",
);
const cUnlinkat = declare<(dir: number, path: CString, flags: number) => number>("int unlinkat(int dir, const char *path, int flags)");
const cRenameat = declare<(fromDir: number, from: CString, toDir: number, to: CString) => number>(
  "int renameat(int fromDir, const char *from, int toDir, const char *to)",
);
const cFchownat = declare<(dir: number, path: CString, uid: number, gid: number, flags: number) => number>(
  "int fchownat(int dir, const char *path, unsigned int uid, unsigned int gid, int flags)",
);
const cFchmodat = declare<(dir: number, path: CString, mode: number, flags: number) => number>(
  "int fchmodat(int dir, const char *path, unsigned int mode, int flags)",
);
const cUtimensat = declare<(dir: number, path: CString, times: BigInt64Array, flags: number) => number>(
  "int utimensat(int dir, const char *path, const void *times, int flags)",
);

/** How openat2(2) resolves: "in-root" treats the directory as / for symlinks and "..", the others refuse to leave it. */
export type Resolve = "in-root" | "beneath" | "beneath-no-symlinks";

/**
 * openat2(2): opens `path` below the directory `dirFd` and answers the descriptor. The kernel itself keeps the lookup inside,
 * whatever symlinks lie on the way, and follows no magic link of /proc.
 *
 * @throws ENOENT, ELOOP, EXDEV (a way out, with "beneath"), ENOSYS before Linux 5.6.
 */
export function openat2(dirFd: number, path: CString, flags: number, options: { resolve: Resolve; mode?: number }): number {
  const rules = { "in-root": RESOLVE_IN_ROOT, beneath: RESOLVE_BENEATH, "beneath-no-symlinks": RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
  // struct open_how; a mode is refused by the kernel unless a file may be created.
  const how = BigUint64Array.of(BigInt(flags | O_CLOEXEC), BigInt(options.mode ?? 0), rules[options.resolve] | RESOLVE_NO_MAGICLINKS);
  const name = cstr(path, "openat2");
  for (let attempt = 0; ; attempt++) {
    const fd = cOpenat2(SYS_openat2, dirFd, name, how, 24);
    // EAGAIN: something was renamed while ".." was looked up; the kernel leaves the retry to us (openat2(2)).
    if (fd < 0 && attempt < 32 && (lastErrno() === constants.errno.EAGAIN || lastErrno() === constants.errno.EINTR)) continue;
    return check(fd, "openat2", path);
  }
}

/** Opens `path` with `rootDir` as its root directory: symlinks and ".." never lead out of it. Answers the descriptor. */
export function openInRoot(rootDir: string, path: CString, flags: number, mode?: number): number {
  const root = openDir(rootDir);
  try {
    return openat2(root, path, flags, mode === undefined ? { resolve: "in-root" } : { resolve: "in-root", mode });
  } finally {
    closeFd(root);
  }
}

/** A descriptor of a directory to start from (O_PATH). */
export function openDir(path: CString): number {
  return openAt(AT_FDCWD, path, O_PATH | fsConstants.O_DIRECTORY);
}

/** Stands for the current directory in place of a directory's descriptor. */
export const AT_FDCWD = -100;

/** openat(2). */
export function openAt(dir: number, path: CString, flags: number, mode = 0o600): number {
  return check(
    retryEintr(() => cOpenat(dir, cstr(path, "openat"), flags | O_CLOEXEC, mode)),
    "openat",
    path,
  );
}

/** mkdirat(2). The umask applies. */
export function mkdirAt(dir: number, path: CString, mode: number): void {
  check(cMkdirat(dir, cstr(path, "mkdirat"), mode), "mkdirat", path);
}

/** mknodat(2); see `mknod` and `makeDev`. */
export function mknodAt(dir: number, path: CString, mode: number, dev: bigint = 0n): void {
  check(cMknodat(dir, cstr(path, "mknodat"), mode, dev), "mknodat", path);
}

/** symlinkat(2). */
export function symlinkAt(target: CString, dir: number, path: CString): void {
  check(cSymlinkat(cstr(target, "symlinkat"), dir, cstr(path, "symlinkat")), "symlinkat", path);
}

/** linkat(2) of the file itself; a symlink is linked, not followed. */
export function linkAt(fromDir: number, from: CString, toDir: number, to: CString): void {
  check(cLinkat(fromDir, cstr(from, "linkat"), toDir, cstr(to, "linkat"), 0), "linkat", to, `(from ${from.toString()})`);
}

/** unlinkat(2) of a file, or of an empty directory. */
export function unlinkAt(dir: number, path: CString, options: { directory?: boolean } = {}): void {
  check(cUnlinkat(dir, cstr(path, "unlinkat"), options.directory === true ? AT_REMOVEDIR : 0), "unlinkat", path);
}

/** renameat(2). */
export function renameAt(fromDir: number, from: CString, toDir: number, to: CString): void {
  check(cRenameat(fromDir, cstr(from, "renameat"), toDir, cstr(to, "renameat")), "renameat", from, `to ${to.toString()}`);
}

/** fchownat(2) of the file itself, never through a symlink. */
export function chownAt(dir: number, path: CString, uid: number, gid: number): void {
  check(cFchownat(dir, cstr(path, "fchownat"), uid, gid, AT_SYMLINK_NOFOLLOW), "fchownat", path);
}

/** fchmodat(2). Follows a symlink in the last component: call it only for what is known to be none. */
export function chmodAt(dir: number, path: CString, mode: number): void {
  check(cFchmodat(dir, cstr(path, "fchmodat"), mode, 0), "fchmodat", path);
}

/** utimensat(2) of the file itself; times in nanoseconds since the epoch, also before it. */
export function utimesAt(dir: number, path: CString, times: { atime: bigint; mtime: bigint }): void {
  const spec = BigInt64Array.of(...seconds(times.atime), ...seconds(times.mtime));
  check(cUtimensat(dir, cstr(path, "utimensat"), spec, AT_SYMLINK_NOFOLLOW), "utimensat", path);
}

/** A struct timespec: whole seconds, rounded down, and the nanoseconds above them. */
function seconds(nanos: bigint): [bigint, bigint] {
  const rest = ((nanos % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return [(nanos - rest) / 1_000_000_000n, rest];
}
