import { constants } from "node:os";
import koffi from "koffi";

/** A path or name as the kernel takes it: text, or raw bytes where it may be no UTF-8 (tar entries, xattr names). */
export type CString = string | Buffer;

const libc = koffi.load(null);

/**
 * Declares a function of the C library. `T` is its TypeScript signature; the caller answers for it being that of the C
 * prototype. Throws at import when the library lacks it: see `optional` for those that an older one may lack.
 */
export function declare<T>(prototype: string): T {
  return libc.func(prototype) as unknown as T;
}

/** As `declare`, but undefined when this C library has no such function. */
export function optional<T>(prototype: string): T | undefined {
  try {
    return declare<T>(prototype);
  } catch {
    return undefined;
  }
}

const errnoNames = new Map<number, string>(Object.entries(constants.errno).map(([name, value]) => [value, name]));

/** An error of a system call: `code` is the errno's name, as in Node's own errors. */
export interface SyscallError extends Error {
  code: string;
  errno: number;
  syscall: string;
  path?: string;
}

/** The error for an errno value; the message reads "mount /a on /b: EBUSY". */
export function errnoError(errno: number, syscall: string, subject: string, path?: CString): SyscallError {
  const code = errnoNames.get(errno) ?? `E${errno}`;
  const error = new Error(`${syscall} ${subject}: ${code}`);
  return Object.assign(error, { code, errno, syscall, ...(path === undefined ? {} : { path: path.toString() }) });
}

/**
 * Passes a result on, or throws the error for the current errno when it is negative. Must be called in the expression of
 * the FFI call itself: any other native call in between may change errno.
 */
export function check(result: number, syscall: string, path: CString, detail?: string): number {
  if (result >= 0) return result;
  const errno = koffi.errno();
  return raise(errno, syscall, path, detail);
}

function raise(errno: number, syscall: string, path: CString, detail: string | undefined): never {
  throw errnoError(errno, syscall, detail === undefined ? path.toString() : `${path.toString()} ${detail}`, path);
}

/** The errno of the FFI call just made. */
export function lastErrno(): number {
  return koffi.errno();
}

/**
 * The argument for a `const char *`. A NUL byte inside would silently cut the path short, which a hostile tar entry or CRI
 * field could use, so it is refused with EINVAL. Bytes get their terminator here.
 */
export function cstr(text: CString, syscall: string): CString {
  if (typeof text === "string") {
    if (text.includes("\0")) throw errnoError(constants.errno.EINVAL, syscall, JSON.stringify(text), text);
    return text;
  }
  if (text.includes(0)) throw errnoError(constants.errno.EINVAL, syscall, JSON.stringify(text.toString("latin1")), text);
  return Buffer.concat([text, Buffer.of(0)]);
}

/** Repeats a call that a signal interrupted. */
export function retryEintr(call: () => number): number {
  for (;;) {
    const result = call();
    if (result >= 0 || koffi.errno() !== constants.errno.EINTR) return result;
  }
}

/**
 * Calls back whenever the descriptor is readable (for a pidfd: when the process has exited), from the event loop, without a
 * thread: libuv's uv_poll underneath. The descriptor must stay open until `close()`.
 */
export function pollReadable(fd: number, onReadable: () => void): { close(): void; unref(): void } {
  let open = true;
  // koffi calls back straight from libuv, outside of Node's callback scope: promises settled there would have nobody to run
  // their reactions until something else wakes the loop. An immediate runs in the same turn, in the proper scope.
  const handle = koffi.node.poll(fd, { readable: true }, () => {
    setImmediate(() => {
      if (open) onReadable();
    });
  });
  return {
    close: () => {
      open = false;
      handle.close();
    },
    unref: () => handle.unref(),
  };
}
