import { spawn } from "node:child_process";
import { closeSync, constants, openSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CridError, isErrno } from "../base/errors.ts";
import { raceAbort } from "../base/keyed-mutex.ts";
import { linkSignals } from "../base/signals.ts";
import { flock } from "../linux/files.ts";
import { LoggerConnection } from "./logger-connection.ts";
import { LOCK_ENV, LOGGER_LOCK, LOGGER_OUTPUT, LOGGER_SOCKET, READY_LINE } from "./protocol.ts";

const START_TIMEOUT_MS = 10_000;
const RETRY_MS = 20;
const MAX_OUTPUT_BYTES = 1024 * 1024;

/**
 * A connection to the state folder's logger, which is started when there is none.
 *
 * The lock decides who is there. It is taken here and handed to the new process as an open descriptor: flock(2) belongs to the open
 * file, so it goes on when this process dies, and the logger needs no FFI to take it.
 *
 * @throws CridError `unavailable` or `deadline-exceeded` when the logger does not come up; the message has what it printed.
 */
export async function connectOrStart(
  options: { stateDir: string; command: readonly string[] },
  { signal }: { signal?: AbortSignal | undefined },
): Promise<{
  connection: LoggerConnection;
  started: boolean;
}> {
  using limit = linkSignals({ signals: [signal], timeoutMs: START_TIMEOUT_MS, step: "start the logger" });
  const socketPath = join(options.stateDir, LOGGER_SOCKET);
  for (;;) {
    const running = await tryConnect(socketPath, limit.signal);
    if (running !== undefined) return { connection: running, started: false };
    const lockFd = tryLock(join(options.stateDir, LOGGER_LOCK));
    if (lockFd !== undefined) {
      try {
        await startLogger(options, lockFd, limit.signal);
      } finally {
        closeSync(lockFd);
      }
      return { connection: await LoggerConnection.open(socketPath, limit), started: true };
    }
    // Someone else is starting it, or an old one is about to leave.
    await delay(RETRY_MS, undefined, { signal: limit.signal }).catch(() => limit.signal.throwIfAborted());
  }
}

async function tryConnect(path: string, signal: AbortSignal): Promise<LoggerConnection | undefined> {
  try {
    return await LoggerConnection.open(path, { signal });
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ECONNREFUSED")) return undefined;
    throw CridError.from(error, `connect to the logger at ${path}`);
  }
}

function tryLock(path: string): number | undefined {
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  if (flock(fd, "ex")) return fd;
  closeSync(fd);
  return undefined;
}

async function startLogger(options: { stateDir: string; command: readonly string[] }, lockFd: number, signal: AbortSignal): Promise<void> {
  const [file, ...args] = options.command;
  if (file === undefined) throw new CridError("invalid-argument", "start the logger: its command is empty");
  const outputPath = join(options.stateDir, LOGGER_OUTPUT);
  const output = await openOutput(outputPath);
  try {
    const child = spawn(file, args, {
      // A session of its own: no signal of the daemon's terminal or process group reaches it.
      detached: true,
      cwd: "/",
      stdio: ["ignore", "pipe", output.fd, lockFd],
      env: { ...process.env, [LOCK_ENV]: join(options.stateDir, LOGGER_LOCK) },
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    child.once("error", (error) => reject(CridError.from(error, `start the logger ${file}`)));
    child.once("exit", (code, by) => {
      const how = by ?? `exit ${code}`;
      void output
        .said()
        .then((text) => reject(new CridError("unavailable", `start the logger: it ended at once (${how}); ${outputPath} says: ${text}`)));
    });
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (text.includes(READY_LINE)) resolve();
    });
    try {
      await raceAbort(promise, signal);
    } catch (error) {
      promise.catch(() => {});
      child.kill("SIGKILL");
      throw error;
    } finally {
      child.removeAllListeners();
      child.on("error", () => {});
      child.stdout?.destroy();
      child.unref();
    }
  } finally {
    await output.close();
  }
}

interface Output {
  fd: number;
  /** The end of what was written since it was opened. */
  said(): Promise<string>;
  close(): Promise<void>;
}

/** The logger's own output. It says little, but lives for months: an overlong file is begun anew. */
async function openOutput(path: string): Promise<Output> {
  const file = await open(path, "a+", 0o640);
  const { size } = await file.stat();
  if (size > MAX_OUTPUT_BYTES) await file.truncate();
  const from = size > MAX_OUTPUT_BYTES ? 0 : size;
  return {
    fd: file.fd,
    said: async () => (await readFile(path).catch(() => Buffer.alloc(0))).subarray(from).toString("utf8").trim().slice(-1000) || "nothing",
    close: () => file.close(),
  };
}
