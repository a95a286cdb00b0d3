import { closeSync, constants, openSync } from "node:fs";
import { fcntlSetPipeSize } from "../linux/files.ts";

/** The largest pipe that needs no privilege; with it a container that logs at full speed wakes the logger less often. */
const PIPE_BYTES = 1024 * 1024;

/**
 * Holds a reading end of each fifo without ever reading: should the logger and then the shim die, the bytes in the pipe are still
 * there for the next logger. A reading end delays no end of output, as only writers count for that.
 *
 * Also makes the pipes larger, from here and not in the logger, which so needs no FFI. Both are extras: a fifo that is gone, or a limit
 * on pipes that was reached, is no error.
 */
export function holdPipes(paths: readonly string[]): Disposable {
  const fds: number[] = [];
  for (const path of paths) {
    if (path === "") continue;
    try {
      const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      fds.push(fd);
      fcntlSetPipeSize(fd, PIPE_BYTES);
    } catch {
      // As said above.
    }
  }
  return {
    [Symbol.dispose]: () => {
      for (const fd of fds.splice(0)) closeSync(fd);
    },
  };
}
