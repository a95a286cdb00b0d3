import { CridError, isKind } from "../base/errors.ts";
import { nowNanos } from "../base/time.ts";
import { processStart } from "../linux/process.ts";
import type { ContainerRecord } from "../records/container-record.ts";
import { bundlePath, type ContainerContext, cgroupsPathOf } from "./context.ts";
import type { ContainerShim } from "./deps.ts";
import { ContainerEntry } from "./entry.ts";
import { killTask, taskEnded, taskLost, undoCreate, watchExit, withoutProcess } from "./exit.ts";
import { clearLostCreate } from "./lost-create.ts";
import { releaseResources } from "./remove.ts";
import { stdioPaths } from "./start.ts";
import { START_ERROR } from "./status.ts";

/*
 * What the start of the daemon does with the containers it finds on record.
 *
 * 1. A record marked `creating` was never answered to anybody: it is undone.
 * 2. A record marked `removing`: the removal is finished.
 * 3. A process on record may run, may have ended, or may never have been: its shim knows. Until it has answered, the container is `unknown`.
 * 4. A shim that does not answer any more takes its containers with it.
 */

const CLEAR_TIMEOUT_MS = 30_000;

/** Takes the records into memory, without asking anybody: List and Status are right again at once. Answers those whose creation was interrupted. */
export function loadContainers(context: ContainerContext): { interrupted: ContainerRecord[] } {
  const interrupted: ContainerRecord[] = [];
  for (const record of context.table.all()) {
    if (record.status.creating) {
      interrupted.push(record);
      continue;
    }
    const entry = new ContainerEntry(record, context.table);
    entry.unreachable = entry.state === "running";
    context.entries.set(record.id, entry);
  }
  return { interrupted };
}

/** Undoes a creation that was interrupted. @throws what a step throws; the record then stays, for the next start */
export async function undoCreation(context: ContainerContext, record: ContainerRecord): Promise<void> {
  await releaseResources(context, record);
  context.table.delete(record.id);
}

/**
 * Takes up a container again through its pod's shim, which answers: watches it, or records the exit that was missed.
 *
 * @param options.logOpen whether the logger has its output (it outlives the daemon); else it is opened again
 */
export async function adoptContainer(
  context: ContainerContext,
  entry: ContainerEntry,
  shim: ContainerShim,
  options: { logOpen: boolean; signal: AbortSignal },
): Promise<void> {
  const { id, record } = entry;
  const { status } = record;
  // Never started, or long done.
  if (status.process === undefined && entry.state !== "unknown") return;
  let task: Awaited<ReturnType<ContainerShim["state"]>>;
  try {
    task = await shim.state(id, options);
  } catch (error) {
    if (!isKind(error, "not-found")) throw error;
    // Between the shim's Create and its answer.
    if (status.process?.pid === 0) await undoCreate(context, entry, shim, options);
    if (entry.state === "exited") entry.update(withoutProcess);
    else if (entry.state === "created") failStart(entry);
    else await taskLost(context, entry, "the shim has no such task after a restart of the daemon");
    return;
  }
  if (entry.state === "exited") {
    await killTask(shim, id, options);
    entry.update(withoutProcess);
    return;
  }
  if (!options.logOpen) await openLog(context, entry, options);
  switch (task.status) {
    case "stopped":
      entry.unreachable = false;
      await taskEnded(context, entry, shim, task);
      return;
    case "running":
    case "paused": {
      await context.oomCounts.begin(context, entry);
      const exit = shim.wait(id, { signal: context.shutdown });
      exit.catch(() => {});
      entry.unreachable = false;
      entry.update((current) => ({
        ...current,
        startedAt: current.startedAt === 0n ? nowNanos() : current.startedAt,
        process: { pid: task.pid, pidStart: processStart(task.pid) ?? "", shim: shim.address },
      }));
      void watchExit(context, entry, shim, exit);
      return;
    }
    case "created":
    case "unknown":
      // Between the shim's Create and Start: StartContainer was never answered.
      await killTask(shim, id, options);
      failStart(entry);
      return;
  }
}

/** The pod's shim does not answer any more, or the node was started anew: the container is exited. */
export async function loseContainer(context: ContainerContext, entry: ContainerEntry, why: string): Promise<void> {
  const { process } = entry.record.status;
  if (entry.state === "created" && process !== undefined) {
    await clearAfterShim(context, entry, process.shim.binary);
    failStart(entry);
  }
  if (entry.state === "exited" || entry.state === "created") return;
  await taskLost(context, entry, why);
}

/** Best effort: what is left is swept at a start that no record keeps from it. */
async function clearAfterShim(context: ContainerContext, entry: ContainerEntry, binary: string): Promise<void> {
  const cgroup = cgroupsPathOf(context, entry.record);
  if (cgroup === undefined) return;
  const task = { id: entry.id, bundle: bundlePath(context, entry.id), binary, cgroup };
  await clearLostCreate(context, task, { signal: AbortSignal.timeout(CLEAR_TIMEOUT_MS) }).catch((error: unknown) => {
    context.log.warn({ container: entry.id, err: error }, "cleaning up after a dead shim failed");
  });
}

function failStart(entry: ContainerEntry): void {
  entry.update((status) => ({
    ...withoutProcess(status),
    finishedAt: nowNanos(),
    exitCode: START_ERROR.exitCode,
    reason: START_ERROR.reason,
    message: "the daemon was restarted while the container was being started",
  }));
}

async function openLog(context: ContainerContext, entry: ContainerEntry, options: { signal: AbortSignal }): Promise<void> {
  const { id, record } = entry;
  const { stdout, stderr } = stdioPaths(context, id, record.config);
  try {
    await context.logger.open({ id, logPath: record.logPath, stdout, stderr, tty: record.config.tty }, options);
    await context.logger.created(id);
  } catch (error) {
    context.log.error({ container: id, err: CridError.from(error) }, "opening the container's log again failed; its output waits");
  }
}
