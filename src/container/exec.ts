import { CridError, isKind, messageOf } from "../base/errors.ts";
import { newId } from "../base/ids.ts";
import { raceAbort } from "../base/keyed-mutex.ts";
import { settlesWithin } from "../base/long-timer.ts";
import { linkSignals } from "../base/signals.ts";
import { execProcess } from "../oci/exec-process.ts";
import type { OciProcess } from "../oci/spec.ts";
import { readSpec } from "./bundle-spec.ts";
import { type ContainerContext, ioPath } from "./context.ts";
import type { ContainerShim } from "./deps.ts";
import type { ContainerEntry } from "./entry.ts";
import { ExecIo } from "./exec-io.ts";
import { stateName } from "./status.ts";
import type { StreamIo, TerminalSize } from "./stream-io.ts";

const SIGHUP = 1;
const SIGKILL = 9;
/** How long a command whose terminal went away may take to end by itself. */
const HANGUP_MS = 1_000;
const START_TIMEOUT_MS = 60_000;
/** How long a killed exec may take to be gone, and then its output to end. */
const KILLED_TIMEOUT_MS = 10_000;
const KILLED_DRAIN_MS = 500;
const REMOVAL_TIMEOUT_MS = 30_000;

export interface ExecRequest extends StreamIo {
  cmd: readonly string[];
  tty: boolean;
  /** 0 = none. */
  timeoutMs: number;
}

/**
 * Runs a command in a container to its end and moves its streams. The end is that of the command itself: a child that it left behind with its
 * output is waited for `drainExecTimeoutMs`, then let go of.
 *
 * When `signal` aborts or the time is over, the command is killed (not its children).
 *
 * @throws failed-precondition (not running), invalid-argument (empty command), deadline-exceeded (time over), the signal's reason; the runtime's own
 * words when the command cannot be started
 */
export async function runExec(
  context: ContainerContext,
  entry: ContainerEntry,
  request: ExecRequest,
  options: { signal: AbortSignal },
): Promise<{ exitCode: number }> {
  const { signal } = options;
  const { id } = entry;
  try {
    expectRunning(entry);
    const process = execProcess(await processOf(context, entry), request);
    const shim = await context.pods.get(entry.record.sandboxId).shim({ signal });
    const execId = newId();
    const tty = request.tty;
    using io = new ExecIo(ioPath(context, id), execId, { stdin: request.stdin !== undefined, tty });
    const output = Promise.all([io.stdout.pump(request.stdout), io.stderr?.pump(request.stderr)]);
    let held = false;
    // Not the caller's signal: a start that is given up goes on in the shim, and leaves a process that nobody kills.
    const starting = { signal: AbortSignal.any([context.shutdown, AbortSignal.timeout(START_TIMEOUT_MS)]) };
    try {
      await shim.exec(
        id,
        { execId, terminal: tty, stdin: io.stdin?.path ?? "", stdout: io.stdout.path, stderr: io.stderr?.path ?? "", process },
        starting,
      );
      const exit = shim.wait(id, { execId, signal: context.shutdown });
      exit.catch(() => {});
      try {
        await shim.start(id, { execId, ...starting });
      } catch (error) {
        throw startFailure(error, execId);
      }
      io.started();
      const ended = new AbortController();
      void feed(shim, id, execId, io, request, ended.signal);
      try {
        const { exitStatus } = await exitOrKill(shim, entry, execId, exit, request, signal);
        held = !(await drained(output, io, context.settings.drainExecTimeoutMs, signal));
        return { exitCode: exitStatus };
      } catch (error) {
        held = !(await settlesWithin(output, KILLED_DRAIN_MS));
        throw error;
      } finally {
        ended.abort();
      }
    } finally {
      const removal = removeExec(context, shim, id, execId);
      // The shim waits up to 10 s for output that a child left behind holds before it lets go of it.
      if (held)
        context.log.warn({ container: id, cmd: request.cmd[0] }, "an exec's output is still held by a process it left behind; letting go");
      else await removal;
    }
  } catch (error) {
    throw CridError.from(error, "failed to exec in container");
  }
}

/** @throws failed-precondition in the words that kubectl users know */
export function expectRunning(entry: ContainerEntry): void {
  if (entry.state !== "running") throw new CridError("failed-precondition", `container is in ${stateName(entry.state)} state`);
}

/** Stdin and the terminal's size, until the process has ended. */
async function feed(shim: ContainerShim, id: string, execId: string, io: ExecIo, request: ExecRequest, signal: AbortSignal): Promise<void> {
  const stdin = async (): Promise<void> => {
    if (io.stdin === undefined || request.stdin === undefined) return;
    await io.stdin.pump(request.stdin, { signal });
    io.stdin[Symbol.dispose]();
    // The shim holds the fifo open for writing as well; it lets go of that now, and the process reads the end. With a terminal that would hang it up, and
    // the process would die of SIGHUP over `kubectl exec -it < file` before it has read the file: a terminal's end is a ^D in the input.
    if (!signal.aborted && !request.tty) await shim.closeIO(id, { execId }, { signal });
  };
  await Promise.allSettled([stdin(), resizeLoop(shim, id, { execId }, request.resize, signal)]);
}

/** Passes the client's terminal sizes on. The last ones may come when the process is gone. */
export async function resizeLoop(
  shim: ContainerShim,
  id: string,
  exec: { execId?: string },
  sizes: AsyncIterable<TerminalSize> | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (sizes === undefined) return;
  for await (const { width, height } of sizes) {
    if (signal.aborted) return;
    await shim.resizePty(id, { ...exec, width, height }, { signal }).catch(() => {});
  }
}

async function exitOrKill(
  shim: ContainerShim,
  entry: ContainerEntry,
  execId: string,
  exit: Promise<{ exitStatus: number }>,
  { timeoutMs, tty }: Pick<ExecRequest, "timeoutMs" | "tty">,
  signal: AbortSignal,
): Promise<{ exitStatus: number }> {
  using limits = linkSignals({ signals: [signal], ...(timeoutMs > 0 && { timeoutMs }), step: "exec" });
  try {
    return await raceAbort(exit, limits.signal);
  } catch (error) {
    if (!limits.signal.aborted) throw error;
    const killing = AbortSignal.timeout(KILLED_TIMEOUT_MS);
    if (tty && signal.aborted) {
      // The terminal went away: a shell gets to save its history and to pass the hangup on to its jobs.
      await ignoreNotFound(shim.kill(entry.id, { signal: SIGHUP, all: false, execId }, { signal: killing }));
      if (await settlesWithin(exit, HANGUP_MS)) throw signal.reason;
    }
    await ignoreNotFound(shim.kill(entry.id, { signal: SIGKILL, all: false, execId }, { signal: killing }));
    await raceAbort(exit, killing).catch(() => {});
    if (signal.aborted) throw signal.reason;
    throw new CridError("deadline-exceeded", `timeout ${timeoutMs / 1000}s exceeded: context deadline exceeded`);
  }
}

/** Never rejects: what it leaves goes with the container. */
async function removeExec(context: ContainerContext, shim: ContainerShim, id: string, execId: string): Promise<void> {
  try {
    await ignoreNotFound(shim.delete(id, { execId, signal: AbortSignal.timeout(REMOVAL_TIMEOUT_MS) }));
  } catch (error) {
    if (!isKind(error, "unavailable"))
      context.log.warn({ container: id, exec: execId, err: error }, "removing an exec from the shim failed");
  }
}

/** False when the output goes on beyond the limit though its reader is waiting: a slow client is not a child that holds the pipe. */
async function drained(output: Promise<unknown>, io: ExecIo, limitMs: number, signal: AbortSignal): Promise<boolean> {
  while (!(await settlesWithin(output, limitMs))) {
    signal.throwIfAborted();
    if (!io.waitsForClient) return false;
  }
  return true;
}

/** The container's own process, from its bundle. */
async function processOf(context: ContainerContext, entry: ContainerEntry): Promise<OciProcess> {
  if (entry.process === undefined) {
    entry.process = (await readSpec(context, entry.id)).process;
  }
  return entry.process;
}

/** What kubectl shows for a missing binary: `... OCI runtime exec failed: exec failed: ...: executable file not found in $PATH`. */
function startFailure(error: unknown, execId: string): CridError {
  const said = error instanceof Error && error.cause instanceof Error ? error.cause.message : messageOf(error);
  const kind = CridError.from(error).kind;
  return new CridError(kind, `failed to start exec "${execId}": ${said.replace(/(: unknown)+$/, "")}`, { cause: error });
}

async function ignoreNotFound(promise: Promise<unknown>): Promise<void> {
  try {
    await promise;
  } catch (error) {
    if (!isKind(error, "not-found")) throw error;
  }
}
