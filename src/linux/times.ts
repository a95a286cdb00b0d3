import { type CString, check, cstr, declare } from "./libc.ts";

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;

const cUtimensat = declare<(dirfd: number, path: CString, times: BigInt64Array, flags: number) => number>(
  "int utimensat(int dirfd, const char *path, int64_t *times, int flags)",
);

const cFutimens = declare<(fd: number, times: BigInt64Array) => number>("int futimens(int fd, int64_t *times)");

const times = new BigInt64Array(4);

/**
 * Sets access and modification time of a path to one moment, to the nanosecond, without following a link.
 * `fs.lutimes` takes a double, which loses everything below a microsecond.
 */
export function lutimes(path: CString, seconds: number, nanos: number): void {
  times[0] = times[2] = BigInt(seconds);
  times[1] = times[3] = BigInt(nanos);
  check(cUtimensat(AT_FDCWD, cstr(path, "utimensat"), times, AT_SYMLINK_NOFOLLOW), "utimensat", path);
}

/** As `lutimes`, of an open file. @param path for the error */
export function futimes(fd: number, seconds: number, nanos: number, path: CString): void {
  times[0] = times[2] = BigInt(seconds);
  times[1] = times[3] = BigInt(nanos);
  check(cFutimens(fd, times), "futimens", path);
}
