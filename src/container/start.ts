import { existsSync, rmSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CridError, isKind, messageOf } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import { shortId } from "../base/ids.ts";
import { Rollback } from "../base/rollback.ts";
import { nowNanos } from "../base/time.ts";
import { mkfifo } from "../linux/files.ts";
import { processStart } from "../linux/process.ts";
import type { ContainerConfig } from "../records/container-config.ts";
import type { IdMapping } from "../records/pod-config.ts";
import type { RuncOptions } from "../shim/task-types.ts";
import type { RootfsMount } from "../snapshot/snapshotter.ts";
import { bundlePath, type ContainerContext, ioPath, readyPod } from "./context.ts";
import type { ContainerEntry } from "./entry.ts";
import { killTask, undoCreate, watchExit, withoutProcess } from "./exit.ts";
import { askToStart, tellPlugins, tellStopped } from "./plugins.ts";
import { userMapsOf } from "./pod-binds.ts";
import { expectState, START_ERROR } from "./status.ts";
import { targetPid } from "./target.ts";

/** Paths of a container's fifos; "" where it has none. With a terminal stderr is part of stdout. */
export function stdioPaths(
  context: Pick<ContainerContext, "paths">,
  id: string,
  config: ContainerConfig,
): { stdin: string; stdout: string; stderr: string } {
  const directory = ioPath(context, id);
  return {
    stdin: config.stdin ? join(directory, "stdin") : "",
    stdout: join(directory, "stdout"),
    stderr: config.tty ? "" : join(directory, "stderr"),
  };
}

/**
 * Runs a created container. A failure is final: the container is then exited with reason StartError, as the kubelet expects, and is replaced by a
 * new attempt.
 *
 * @throws failed-precondition (not in state created, pod not ready), and what the shim and the runtime say
 */
export async function startContainer(context: ContainerContext, entry: ContainerEntry, options: { signal: AbortSignal }): Promise<void> {
  using _lock = await context.locks.acquire(entry.id, options);
  const { record } = entry;
  const step = `start container ${record.config.name} (${shortId(entry.id)})`;
  expectState(record, entry.state, "created", "start");
  if (record.status.removing) throw new CridError("failed-precondition", `${step}: container is in removing state, can't be started`);
  const rollback = new Rollback({ log: context.log.child({ container: entry.id, op: "start" }) });
  entry.starting = true;
  try {
    try {
      await run(context, entry, rollback, options.signal);
      rollback.disarm();
    } finally {
      await rollback[Symbol.asyncDispose]();
    }
  } catch (error) {
    const failure = CridError.from(error, step);
    entry.update((status) => ({
      // A task that could not be removed stays on record, for RemoveContainer.
      ...(rollback.failed.includes("task") ? status : withoutProcess(status)),
      startedAt: 0n,
      finishedAt: nowNanos(),
      exitCode: START_ERROR.exitCode,
      reason: START_ERROR.reason,
      message: messageOf(failure),
    }));
    void tellStopped(context, entry);
    throw failure;
  } finally {
    entry.starting = false;
  }
}

async function run(context: ContainerContext, entry: ContainerEntry, rollback: Rollback, signal: AbortSignal): Promise<void> {
  const { id, record } = entry;
  const { config } = record;
  const pod = readyPod(context.pods.get(record.sandboxId), "pod");
  await context.oomCounts.begin(context, entry);
  // It joined the target's namespace by pid: the target must still be there.
  if (config.security.namespaces.pid === "target") targetPid(context, pod.id, config.security.namespaces.targetId);
  const shim = await pod.shim({ signal });
  const stdio = stdioPaths(context, id, config);
  await makeFifos(context, id, Object.values(stdio));
  if (record.logPath !== "") await mkdir(dirname(record.logPath), { recursive: true, mode: 0o755 });
  rollback.push("log", () => context.logger.close(id));
  await context.logger.open({ id, logPath: record.logPath, stdout: stdio.stdout, stderr: stdio.stderr, tty: config.tty }, { signal });

  const bundle = bundlePath(context, id);
  const rootfs = JSON.parse(await readFile(join(bundle, "mounts.json"), "utf8")) as RootfsMount[];
  // What the shim answers with an error it has undone itself; what we give up goes on in it.
  let givenUp = false;
  rollback.push("task", (undo) => (givenUp ? undoCreate(context, entry, shim, undo) : killTask(shim, id, undo)));
  await failpoint("container.start.before-create", { signal });
  const runtimeOptions = ioOwned(pod.runtime.options, config, entry);
  const pid = await createTask();
  const pidStart = processStart(pid) ?? "";
  const exit = shim.wait(id, { signal: context.shutdown });
  // It is awaited below, but only if the start succeeds.
  exit.catch(() => {});
  await failpoint("container.start.after-create", { signal });
  await askToStart(context, entry, pid, { signal });
  // Taken before: a short process has ended, with its own time, before the shim answers.
  const startedAt = nowNanos();
  // The shim holds the fifos now; the logger lets go, so that it sees the end when the last writer is gone.
  await Promise.all([context.logger.created(id), shim.start(id, { signal })]);
  entry.update((status) => ({ ...status, startedAt, process: { pid, pidStart, shim: shim.address } }));
  await failpoint("container.start.after-start", { signal });
  context.events.publish({ type: "started", containerId: id, sandboxId: pod.id, at: entry.record.status.startedAt });
  void watchExit(context, entry, shim, exit);
  void tellPlugins(context, entry, "PostStartContainer");

  /** New limits are either in the spec that the runtime reads, or set on the task that it has made. */
  async function createTask(): Promise<number> {
    using _limits = await context.limitLocks.acquire(id, { signal });
    entry.update((status) => ({ ...status, process: { pid: 0, pidStart: "", shim: shim.address } }));
    try {
      return (await shim.create({ id, bundle, rootfs, terminal: config.tty, ...stdio, runtimeOptions }, { signal })).pid;
    } catch (error) {
      givenUp = signal.aborted || isKind(error, "unavailable");
      throw error;
    }
  }
}

/** A start that a crash broke off before there was a task has left its fifos, and the logger, which outlives the daemon, holds them. */
async function makeFifos(context: ContainerContext, id: string, stdio: readonly string[]): Promise<void> {
  const paths = stdio.filter((path) => path !== "");
  if (paths.some((path) => existsSync(path))) {
    await context.logger.close(id);
    for (const path of paths) rmSync(path, { force: true });
  }
  for (const path of paths) mkfifo(path);
}

/** In a user namespace the pipes of stdio must belong to the mapped user, or the process cannot reopen /dev/stdout. */
function ioOwned(options: RuncOptions, config: ContainerConfig, entry: ContainerEntry): RuncOptions {
  const { uids, gids } = userMapsOf(config);
  if (uids.length === 0) return options;
  return { ...options, ioUid: hostId(uids, entry.record.user?.uid ?? 0), ioGid: hostId(gids, entry.record.user?.gid ?? 0) };
}

function hostId(maps: readonly IdMapping[], id: number): number {
  const map = maps.find(({ containerId, length }) => id >= containerId && id < containerId + length);
  if (map === undefined) throw new CridError("invalid-argument", `id ${id} is not mapped in the pod's user namespace`);
  return map.hostId + (id - map.containerId);
}
