import { statfsSync } from "node:fs";
import { constants } from "node:os";
import { type CString, check, cstr, declare, errnoError, lastErrno, retryEintr } from "./libc.ts";

export const O_PATH = 0x20_0000;
export const O_CLOEXEC = 0x8_0000;
export const S_IFIFO = 0o010000;
export const S_IFCHR = 0o020000;
export const S_IFBLK = 0o060000;
export const S_IFREG = 0o100000;

const F_DUPFD_CLOEXEC = 1030;
const F_SETPIPE_SZ = 1031;
const F_GETPIPE_SZ = 1032;

const cOpen = declare<(path: CString, flags: number, mode: number) => number>("int open(const char *path, int flags, unsigned int mode)");
const cClose = declare<(fd: number) => number>("int close(int fd)");
const cMkfifo = declare<(path: CString, mode: number) => number>("int mkfifo(const char *path, unsigned int mode)");
const cMknod = declare<(path: CString, mode: number, dev: number | bigint) => number>(
  "int mknod(const char *path, unsigned int mode, uint64_t dev)",
);
const cFlock = declare<(fd: number, operation: number) => number>("int flock(int fd, int operation)");
const cFcntl = declare<(fd: number, command: number, argument: number) => number>("int fcntl(int fd, int command, long argument)");
const cSyncfs = declare<(fd: number) => number>("int syncfs(int fd)");
const cSyncFileRange = declare<(fd: number, offset: number, bytes: number, flags: number) => number>(
  "int sync_file_range(int fd, int64_t offset, int64_t bytes, unsigned int flags)",
);
const SYNC_FILE_RANGE_WRITE = 2;
const cPipe2 = declare<(fds: Int32Array, flags: number) => number>("int pipe2(int *fds, int flags)");

/**
 * open(2) with the flags as they are (fs.constants and those of this file); O_CLOEXEC is added. For what `fs.openSync` does as
 * well but for one thing: a fifo opened O_RDWR | O_NONBLOCK never blocks, whoever holds the other end.
 */
export function openFd(path: CString, flags: number, mode = 0o600): number {
  return check(
    retryEintr(() => cOpen(cstr(path, "open"), flags | O_CLOEXEC, mode)),
    "open",
    path,
  );
}

/** close(2). EINTR counts as closed, as it is on Linux. */
export function closeFd(fd: number): void {
  if (cClose(fd) < 0 && lastErrno() !== constants.errno.EINTR) throw errnoError(lastErrno(), "close", `fd ${fd}`);
}

/** A new descriptor for the same open file, at `atLeast` or above, closed on exec. */
export function dupFd(fd: number, atLeast = 3): number {
  return check(cFcntl(fd, F_DUPFD_CLOEXEC, atLeast), "fcntl", `fd ${fd}`, "(dup)");
}

/**
 * sync_file_range(2): the kernel begins to write these bytes of a file to the disk, and nobody waits for it. The fsync that makes them durable
 * finds less to do. Best effort: a file system that cannot do it writes later.
 */
export function beginWriteback(fd: number, offset: number, bytes: number): void {
  cSyncFileRange(fd, offset, bytes, SYNC_FILE_RANGE_WRITE);
}

/** A pipe; both ends are closed on exec, neither is non-blocking unless `nonblock`. */
export function pipe(options: { nonblock?: boolean } = {}): { read: number; write: number } {
  const fds = new Int32Array(2);
  check(cPipe2(fds, O_CLOEXEC | (options.nonblock === true ? 0o4000 : 0)), "pipe2", "", "(new pipe)");
  const [read, write] = fds;
  if (read === undefined || write === undefined) throw errnoError(constants.errno.EBADF, "pipe2", "");
  return { read, write };
}

/** mkfifo(3). */
export function mkfifo(path: CString, mode = 0o600): void {
  check(cMkfifo(cstr(path, "mkfifo"), mode), "mkfifo", path);
}

/** The number of a device, as glibc's makedev gives it. Exact for every major and minor of 32 bits. */
export function makeDev(major: number, minor: number): bigint {
  const [hi, lo] = [BigInt(major >>> 0), BigInt(minor >>> 0)];
  return ((hi & 0xffff_f000n) << 32n) | ((hi & 0xfffn) << 8n) | ((lo & 0xffff_ff00n) << 12n) | (lo & 0xffn);
}

/** The opposite of `makeDev`, as the kernel's own files write it: "254:0". */
export function deviceNumber(dev: bigint): string {
  const major = ((dev >> 32n) & 0xffff_f000n) | ((dev >> 8n) & 0xfffn);
  const minor = ((dev >> 12n) & 0xffff_ff00n) | (dev & 0xffn);
  return `${major}:${minor}`;
}

/** mknod(2); `mode` has the type (S_IFCHR and others) and the permissions. An overlay whiteout is S_IFCHR with device 0. */
export function mknod(path: CString, mode: number, dev: bigint = 0n): void {
  check(cMknod(cstr(path, "mknod"), mode, dev), "mknod", path);
}

/**
 * flock(2): "ex"clusive, "sh"ared or "un"lock. Answers false when another open file holds the lock. Never waits, as that would
 * stop the event loop. The lock goes with the last descriptor of the open file.
 */
export function flock(fd: number, how: "ex" | "sh" | "un"): boolean {
  const LOCK_NB = 4;
  const operation = { sh: 1, ex: 2, un: 8 }[how];
  if (retryEintr(() => cFlock(fd, operation | LOCK_NB)) === 0) return true;
  const errno = lastErrno();
  if (errno === constants.errno.EAGAIN) return false;
  throw errnoError(errno, "flock", `fd ${fd}`);
}

/** Sets the capacity of a pipe or fifo in bytes; answers the real one. EPERM above /proc/sys/fs/pipe-max-size without CAP_SYS_RESOURCE. */
export function fcntlSetPipeSize(fd: number, bytes: number): number {
  return check(cFcntl(fd, F_SETPIPE_SZ, bytes), "fcntl", `fd ${fd}`, "(pipe size)");
}

/** The capacity of a pipe or fifo in bytes. */
export function fcntlGetPipeSize(fd: number): number {
  return check(cFcntl(fd, F_GETPIPE_SZ, 0), "fcntl", `fd ${fd}`, "(pipe size)");
}

/** syncfs(2): writes the whole file system of `fd` to disk. Blocks: call it on a worker thread, or use `syncfsAsync`. */
export function syncfs(fd: number): void {
  check(cSyncfs(fd), "syncfs", `fd ${fd}`);
}

/** syncfs(2) on a thread of libuv's pool. Reports that it failed, not why: errno belongs to that thread. */
export async function syncfsAsync(fd: number): Promise<void> {
  const call = cSyncfs as unknown as { async(fd: number, done: (error: unknown, result: number) => void): void };
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  call.async(fd, (error, result) => (error === null || error === undefined ? resolve(result) : reject(error)));
  if ((await promise) < 0) throw errnoError(constants.errno.EIO, "syncfs", `fd ${fd}`);
}

/** Magic numbers of statfs(2), linux/magic.h. */
export const FS_MAGIC = {
  cgroup2: 0x6367_7270,
  tmpfs: 0x0102_1994,
  overlayfs: 0x794c_7630,
  nsfs: 0x6e73_6673,
  proc: 0x9fa0,
  ext4: 0xef53,
  xfs: 0x5846_5342,
  btrfs: 0x9123_683e,
  nfs: 0x6969,
} as const;

/** statfs(2). May block on a dead network file system: not for paths that a pod chooses. Sizes in bytes. */
export function statfs(path: string): {
  type: number;
  blockSize: number;
  totalBytes: number;
  freeBytes: number;
  files: number;
  filesFree: number;
} {
  const at = statfsSync(path);
  return {
    type: at.type,
    blockSize: at.bsize,
    totalBytes: at.blocks * at.bsize,
    freeBytes: at.bavail * at.bsize,
    files: at.files,
    filesFree: at.ffree,
  };
}
