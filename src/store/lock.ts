import fs from "node:fs";
import path from "node:path";
import { CridError } from "../base/errors.ts";
import { flock } from "../linux/files.ts";

/**
 * Takes the lock of one root directory: flock(2) on a file that holds the owner's pid. The kernel drops the lock when the
 * process ends in whatever way, so there is never a stale one; the file stays. Children don't inherit it (O_CLOEXEC).
 *
 * @returns the lock, held until disposed of
 * @throws failed-precondition naming the pid when another process holds it
 */
export function lockRoot(lockPath: string): Disposable {
  fs.mkdirSync(path.dirname(lockPath), { recursive: true, mode: 0o711 });
  const fd = fs.openSync(lockPath, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
  try {
    if (!flock(fd, "ex")) {
      throw new CridError(
        "failed-precondition",
        `lock ${lockPath}: another crid (pid ${readPid(fd)}) uses ${path.dirname(lockPath)}; stop it, or give this one a root of its own`,
      );
    }
    fs.ftruncateSync(fd, 0);
    fs.writeSync(fd, `${process.pid}\n`, 0);
  } catch (error) {
    fs.closeSync(fd);
    throw CridError.from(error);
  }
  return {
    [Symbol.dispose]: () => fs.closeSync(fd),
  };
}

function readPid(fd: number): string {
  const buffer = Buffer.alloc(32);
  const length = fs.readSync(fd, buffer, 0, buffer.length, 0);
  const pid = buffer.toString("utf8", 0, length).trim();
  return pid === "" ? "unknown" : pid;
}
