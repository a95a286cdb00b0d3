import { closeSync, constants, fstatSync, openSync, unlinkSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { CridError, isErrno, messageOf } from "../../base/errors.ts";
import { LOCK_ENV, LOCK_FD, LOGGER_LOCK, LOGGER_SOCKET, READY_LINE } from "../protocol.ts";
import { BufferPool } from "./buffer-pool.ts";
import { ContainerLogs } from "./containers.ts";
import { ControlServer } from "./control-server.ts";

/** One read from a fifo: as much as a pipe holds by default. */
const READ_BYTES = 64 * 1024;
const WRITE_BUFFER_BYTES = 128 * 1024;
const KEPT_BUFFERS = 16;
const ORPHAN_CHECK_MS = 30_000;

/**
 * The logger process, until `shutdown` or SIGTERM: reads the output of every container of one state folder. It outlives the daemon,
 * so it holds on to nothing of it: own session, cwd `/`, no inherited descriptors but the lock.
 *
 * A fault in the handling of one container must not cost the others their logs, so an uncaught exception is said and survived.
 *
 * @param options.protocolVersion what it says to speak, for tests of a replacement.
 * @throws CridError when another logger has the folder, or the socket cannot be made.
 */
export async function runLogger(options: { stateDir: string; protocolVersion?: number }): Promise<void> {
  process.chdir("/");
  process.umask(0o022);
  const lockFd = await takeLock(join(options.stateDir, LOGGER_LOCK));
  process.on("uncaughtException", (error) => say(`survived: ${error.stack ?? messageOf(error)}`));

  const done = Promise.withResolvers<void>();
  const pool = new BufferPool({ bufferBytes: WRITE_BUFFER_BYTES, keep: KEPT_BUFFERS });
  const logs = new ContainerLogs({ readBuffer: Buffer.allocUnsafeSlow(READ_BYTES), pool, say });
  const server = new ControlServer({ logs, onShutdown: done.resolve, version: options.protocolVersion });
  const socketPath = join(options.stateDir, LOGGER_SOCKET);
  await listen(server, socketPath);
  const { ino } = await stat(socketPath);
  const onSignal = (): void => done.resolve();
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  process.on("SIGHUP", () => {});

  // Whoever removed the state folder will never ask again: with the last output at its end there is nothing left to do here.
  const orphanCheck = setInterval(() => {
    void stat(socketPath).then(
      (now) => (now.ino === ino ? undefined : maybeLeave()),
      () => maybeLeave(),
    );
  }, ORPHAN_CHECK_MS);
  const maybeLeave = (): void => {
    if (logs.active > 0) return;
    say("the socket is gone and no container has output to come; leaving");
    done.resolve();
  };

  process.stdout.on("error", () => {});
  process.stdout.write(`${READY_LINE}\n`);
  await done.promise;
  clearInterval(orphanCheck);
  process.off("SIGTERM", onSignal);
  process.off("SIGINT", onSignal);
  server.close();
  await logs.closeAll();
  if ((await stat(socketPath).catch(() => undefined))?.ino === ino) unlinkSync(socketPath);
  closeSync(lockFd);
}

/** The lock that the daemon took and passed on, or one of our own when started by hand. Held until this process ends. */
async function takeLock(path: string): Promise<number> {
  if (process.env[LOCK_ENV] === path && fstatSync(LOCK_FD).isFile()) return LOCK_FD;
  // Imported here alone: the FFI costs 8 MB of memory, which a logger that the daemon started never pays.
  const { flock } = await import("../../linux/files.ts");
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  if (flock(fd, "ex")) return fd;
  closeSync(fd);
  throw new CridError("failed-precondition", `logger: another logger holds ${path}; one serves each state folder`);
}

/** Whoever holds the lock owns the socket's path: one that is there is left from a logger that was killed. */
async function listen(server: ControlServer, path: string): Promise<void> {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw CridError.from(error, `remove stale ${path}`);
  }
  const umask = process.umask(0o177);
  try {
    await server.listen(path);
  } catch (error) {
    throw CridError.from(error, `listen on ${path}`);
  } finally {
    process.umask(umask);
  }
}

function say(message: string): void {
  process.stderr.write(`${new Date().toISOString()} ${message}\n`);
}
