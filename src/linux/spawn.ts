import { writeSync } from "node:fs";
import { Socket } from "node:net";
import { setPriority } from "node:os";
import { basename } from "node:path";
import { isErrno } from "../base/errors.ts";
import { linkSignals } from "../base/signals.ts";
import { type ExitState, waitChild } from "./child.ts";
import { closeFd, fcntlGetPipeSize, pipe } from "./files.ts";
import { posixSpawn } from "./posix-spawn.ts";

export interface SpawnOptions {
  /** A path, or a name that is looked up in this process's PATH. */
  file: string;
  /** The arguments after the program's own name. */
  args: readonly string[];
  /** The whole environment; nothing is inherited. */
  env: Readonly<Record<string, string>>;
  cwd?: string;
  /** Default: /dev/null. */
  stdin?: Buffer | "null";
  /** A process group of its own, which an abort kills as a whole. */
  pgroup?: boolean;
  /** The child's nice value, -20 to 19; what may not be set (no CAP_SYS_NICE) is left as it is. Default: this process's own. */
  nice?: number;
  /** Open descriptors that the child gets as 3, 4 and so on. They stay the caller's. */
  extraFds?: readonly number[];
  signal?: AbortSignal;
  timeoutMs?: number;
  /** The limit of each output in bytes, default 4 MiB. What is beyond is read and dropped, and `truncated` says so. */
  maxOutput?: number;
}

export interface SpawnResult extends ExitState {
  pid: number;
  stdout: Buffer;
  stderr: Buffer;
  truncated: boolean;
}

// After the exit, the output of the process itself is in the pipe already. Its end (EOF) may never come, as a daemonised
// grandchild can keep the pipe: it is waited for while data comes at least this often, and for no longer than the other.
const drainIdleMs = 100;
const drainMaxMs = 2_000;
// How long an abort waits for the killed process to be gone. One in uninterruptible sleep is left to be reaped later.
const killGraceMs = 1_000;

/**
 * Runs a program and answers how it ended and what it wrote; blocks the event loop for about a quarter of a millisecond (see
 * `posixSpawn`). A non-zero status is an answer, not an error.
 *
 * @throws the errno error when it cannot be started; on abort the signal's reason, on timeout CridError deadline-exceeded,
 * both after the child was killed with SIGKILL.
 */
export async function spawnProcess(options: SpawnOptions): Promise<SpawnResult> {
  options.signal?.throwIfAborted();
  const name = basename(options.file);
  using limits = linkSignals({
    signals: [options.signal],
    step: `run ${name}`,
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
  });
  using child = start(options);
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => {
    child.kill();
    const giveUp = setTimeout(() => aborted.reject(limits.signal.reason), killGraceMs);
    void child.exited.finally(() => {
      clearTimeout(giveUp);
      aborted.reject(limits.signal.reason);
    });
  };
  limits.signal.addEventListener("abort", onAbort, { once: true });
  try {
    const state = await Promise.race([child.exited, aborted.promise]);
    if (limits.signal.aborted) throw limits.signal.reason;
    await Promise.race([drained([child.stdout, child.stderr]), aborted.promise]);
    return {
      pid: child.pid,
      ...state,
      stdout: child.stdout.bytes(),
      stderr: child.stderr.bytes(),
      truncated: child.stdout.truncated || child.stderr.truncated,
    };
  } finally {
    limits.signal.removeEventListener("abort", onAbort);
  }
}

interface Child extends Disposable {
  readonly pid: number;
  readonly exited: Promise<ExitState>;
  readonly stdout: Output;
  readonly stderr: Output;
  kill(): void;
}

function start(options: SpawnOptions): Child {
  const ours: number[] = [];
  const theirs: number[] = [];
  const make = (end: "read" | "write"): { ours: number; theirs: number } => {
    const { read, write } = pipe();
    const pair = end === "read" ? { ours: read, theirs: write } : { ours: write, theirs: read };
    ours.push(pair.ours);
    theirs.push(pair.theirs);
    return pair;
  };
  const input = options.stdin instanceof Buffer ? options.stdin : undefined;
  try {
    const stdin = input === undefined ? undefined : make("write");
    const stdout = make("read");
    const stderr = make("read");
    const pid = posixSpawn({
      file: options.file,
      argv: [options.file, ...options.args],
      env: options.env,
      cwd: options.cwd,
      fds: [stdin?.theirs ?? "null", stdout.theirs, stderr.theirs, ...(options.extraFds ?? [])],
      group: options.pgroup === true ? "pgroup" : "inherit",
    });
    if (options.nice !== undefined) setNice(pid, options.nice);
    ours.length = 0;
    return supervise(pid, options, { stdin: stdin?.ours, stdout: stdout.ours, stderr: stderr.ours }, input);
  } finally {
    for (const fd of theirs) closeFd(fd);
    for (const fd of ours) closeFd(fd);
  }
}

function supervise(
  pid: number,
  options: SpawnOptions,
  fds: { stdin: number | undefined; stdout: number; stderr: number },
  input: Buffer | undefined,
): Child {
  const limit = options.maxOutput ?? 4 * 1024 * 1024;
  const stdout = new Output(fds.stdout, limit);
  const stderr = new Output(fds.stderr, limit);
  const stdin = fds.stdin === undefined || input === undefined ? undefined : feed(fds.stdin, input);
  let running = true;
  const exited = waitChild(pid).finally(() => {
    running = false;
  });
  // Awaited by spawnProcess, unless that has given up on a process that cannot be killed.
  exited.catch(() => undefined);
  return {
    pid,
    exited,
    stdout,
    stderr,
    kill: () => {
      // Not reaped yet, so neither the pid nor the group can be someone else's.
      if (!running) return;
      try {
        process.kill(options.pgroup === true ? -pid : pid, "SIGKILL");
      } catch {
        // Gone already: `exited` is about to say so.
      }
    },
    [Symbol.dispose]: () => {
      stdin?.destroy();
      stdout.close();
      stderr.close();
    },
  };
}

/** Writes the input, at once if the pipe holds all of it; a child that does not read it (EPIPE) is no error. */
function feed(fd: number, input: Buffer): Socket | undefined {
  if (input.length <= 4096 || input.length <= fcntlGetPipeSize(fd)) {
    try {
      for (let at = 0; at < input.length; ) at += writeSync(fd, input, at);
    } catch (error) {
      if (!isErrno(error, "EPIPE")) throw error;
    } finally {
      closeFd(fd);
    }
    return undefined;
  }
  const socket = new Socket({ fd, readable: false, writable: true });
  socket.on("error", () => undefined);
  socket.end(input);
  return socket;
}

/** The read end of one output: keeps what came, up to the limit. */
class Output {
  readonly #socket: Socket;
  readonly #limit: number;
  readonly #chunks: Buffer[] = [];
  #length = 0;
  ended = false;
  truncated = false;
  onProgress: () => void = () => undefined;

  constructor(fd: number, limit: number) {
    this.#limit = limit;
    this.#socket = new Socket({ fd, readable: true, writable: false });
    this.#socket.on("data", (chunk: Buffer) => this.#take(chunk));
    const onEnd = (): void => {
      this.ended = true;
      this.onProgress();
    };
    this.#socket.on("end", onEnd);
    this.#socket.on("error", onEnd);
  }

  #take(chunk: Buffer): void {
    const room = this.#limit - this.#length;
    if (chunk.length > room) this.truncated = true;
    if (room > 0) this.#chunks.push(chunk.length > room ? chunk.subarray(0, room) : chunk);
    this.#length += Math.min(chunk.length, room);
    this.onProgress();
  }

  bytes(): Buffer {
    return this.#chunks.length === 1 && this.#chunks[0] !== undefined ? this.#chunks[0] : Buffer.concat(this.#chunks);
  }

  close(): void {
    this.onProgress = () => undefined;
    this.#socket.destroy();
  }
}

async function drained(outputs: readonly Output[]): Promise<void> {
  const done = (): boolean => outputs.every((output) => output.ended);
  if (done()) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const latest = setTimeout(resolve, drainMaxMs);
  const idle = setTimeout(resolve, drainIdleMs);
  for (const output of outputs) {
    output.onProgress = () => (done() ? resolve() : void idle.refresh());
  }
  await promise;
  clearTimeout(latest);
  clearTimeout(idle);
}

/** A short child may have ended already, and an unprivileged daemon may not raise one. Neither matters to what the child does. */
function setNice(pid: number, nice: number): void {
  try {
    setPriority(pid, nice);
  } catch {
    return;
  }
}
