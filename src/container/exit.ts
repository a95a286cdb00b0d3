import { setTimeout as sleep } from "node:timers/promises";
import { CridError, isKind, messageOf } from "../base/errors.ts";
import { shortId } from "../base/ids.ts";
import { nowNanos } from "../base/time.ts";
import type { ContainerStatusRecord } from "../records/container-record.ts";
import type { TaskExit } from "../shim/task-types.ts";
import { bundlePath, type ContainerContext, cgroupsPathOf } from "./context.ts";
import type { ContainerShim } from "./deps.ts";
import type { ContainerEntry } from "./entry.ts";
import { clearLostCreate, settleCreate } from "./lost-create.ts";
import { tellStopped } from "./plugins.ts";
import { UNKNOWN_EXIT } from "./status.ts";

/** Removing a task runs the low-level runtime once; a wedged one must not keep a container from being reported as exited. */
const TASK_REMOVAL_TIMEOUT_MS = 60_000;
const RECORD_RETRY_MS = 1_000;

/**
 * Follows a started task to its end. The shim's Wait is the truth: its events can be lost.
 *
 * @param exit the Wait, issued before the process was started so that no exit falls between
 */
export async function watchExit(
  context: ContainerContext,
  entry: ContainerEntry,
  shim: ContainerShim,
  exit: Promise<TaskExit>,
): Promise<void> {
  const log = context.log.child({ container: entry.id });
  try {
    await taskEnded(context, entry, shim, await exit);
  } catch (error) {
    // The daemon goes; the container does not.
    if (context.shutdown.aborted) return;
    log.warn({ err: error }, "waiting for the container's process failed");
    const why = isKind(error, "unavailable") ? "the pod's shim died" : `the shim cannot tell how it ended: ${messageOf(error)}`;
    await taskLost(context, entry, why).catch((lost: unknown) => log.error({ err: lost }, "recording the end of a lost container failed"));
  }
}

/** Records how a container's process ended, once all of its output is in the log. A second report of the same end changes nothing. */
export function taskEnded(context: ContainerContext, entry: ContainerEntry, shim: ContainerShim, exit: TaskExit): Promise<void> {
  entry.ending ??= end();
  return entry.ending;

  async function end(): Promise<void> {
    if (entry.state === "exited") return;
    const [oomKilled] = await Promise.all([wasOomKilled(context, entry, exit), drainOutput(context, entry)]);
    await recordExit(context, entry, { ...exit, reason: reasonOf(exit.exitStatus, oomKilled), message: "" });
    entry.taskRemoval = removeTask(context, entry, shim);
  }
}

/**
 * The container's shim is gone, or does not know it any more: whatever is left of it is killed and cleaned up, and the container is exited.
 */
export function taskLost(context: ContainerContext, entry: ContainerEntry, why: string): Promise<void> {
  entry.ending ??= lose();
  return entry.ending;

  async function lose(): Promise<void> {
    if (entry.state === "exited") return;
    const status = await cleanUpAfterShim(context, entry);
    await drainOutput(context, entry);
    await recordExit(context, entry, {
      exitStatus: status ?? UNKNOWN_EXIT.exitCode,
      exitedAt: nowNanos(),
      reason: status === undefined ? UNKNOWN_EXIT.reason : "Error",
      message: why,
    });
    entry.taskRemoval = closeLog(context, entry);
  }
}

/** @returns the exit status that could be found out, 137 when it was killed now; undefined when there was no bundle any more */
async function cleanUpAfterShim(context: ContainerContext, entry: ContainerEntry): Promise<number | undefined> {
  const binary = entry.record.status.process?.shim.binary;
  if (binary === undefined) return undefined;
  try {
    const signal = AbortSignal.timeout(TASK_REMOVAL_TIMEOUT_MS);
    return (await context.shims.delete({ id: entry.id, bundle: bundlePath(context, entry.id), binary }, { signal })).exitStatus;
  } catch (error) {
    if (!isKind(error, "not-found")) context.log.warn({ container: entry.id, err: error }, "cleaning up after a dead shim failed");
    return undefined;
  }
}

/** Tries until the store takes it: an exit that is not on record would leave the container running for ever. */
async function recordExit(
  context: ContainerContext,
  entry: ContainerEntry,
  exit: { exitStatus: number; exitedAt: bigint; reason: string; message: string },
): Promise<void> {
  for (;;) {
    try {
      entry.update((status) => ({
        ...status,
        // A process can end before its start is on record, when the daemon was killed between.
        startedAt: status.startedAt === 0n ? status.createdAt : status.startedAt,
        finishedAt: exit.exitedAt === 0n ? nowNanos() : exit.exitedAt,
        exitCode: exit.exitStatus,
        reason: exit.reason,
        message: exit.message,
      }));
      break;
    } catch (error) {
      context.log.error({ container: entry.id, err: error }, "recording the container's exit failed; trying again");
      await sleep(RECORD_RETRY_MS, undefined, { signal: context.shutdown });
    }
  }
  entry.unreachable = false;
  context.log.info({ container: entry.id, exitCode: exit.exitStatus, reason: exit.reason }, "container exited");
  context.events.publish({
    type: "stopped",
    containerId: entry.id,
    sandboxId: entry.record.sandboxId,
    at: entry.record.status.finishedAt,
  });
  void tellStopped(context, entry);
}

/** The words that the kubelet and its tests look for. A container that ended well was not ended by the OOM killer, whatever a child met. */
function reasonOf(exitStatus: number, oomKilled: boolean): string {
  if (exitStatus === 0) return "Completed";
  return oomKilled ? "OOMKilled" : "Error";
}

/** The shim's OOM event can be lost or late: the cgroup's own count, which mostly lasts until the task is removed, decides. */
async function wasOomKilled(context: ContainerContext, entry: ContainerEntry, exit: TaskExit): Promise<boolean> {
  try {
    // Asked after every exit, so that what is one container's is not taken for another's.
    const claimed = await context.oomCounts.claim(context, entry);
    if (exit.exitStatus === 0) return false;
    if (entry.oomSeen || claimed > 0) return true;
    const path = cgroupsPathOf(context, entry.record);
    return path !== undefined && (await context.cgroups.oomKills(path)) > 0;
  } catch (error) {
    context.log.warn({ container: entry.id, err: error }, "reading the OOM count of the container's cgroup failed");
    return entry.oomSeen;
  }
}

/** Whoever reads the log after the exit was reported finds all of it; a child that keeps the pipe open cannot hold that up for long. */
async function drainOutput(context: ContainerContext, entry: ContainerEntry): Promise<void> {
  const timeoutMs = context.settings.drainExitTimeoutMs;
  try {
    const drained = await context.logger.drained(entry.id, { timeoutMs, signal: context.shutdown });
    if (!drained) context.log.warn({ container: entry.id, timeoutMs }, "the container's output goes on after its exit");
  } catch (error) {
    context.log.warn({ container: entry.id, err: error }, "waiting for the end of the container's output failed");
  }
}

async function removeTask(context: ContainerContext, entry: ContainerEntry, shim: ContainerShim): Promise<void> {
  try {
    await deleteTask(shim, entry.id, { signal: AbortSignal.timeout(TASK_REMOVAL_TIMEOUT_MS) });
    entry.update(withoutProcess);
  } catch (error) {
    // The process stays on record: RemoveContainer and the next start of the daemon try again.
    context.log.warn({ container: entry.id, err: error }, "removing the ended task from the shim failed");
  }
  await closeLog(context, entry);
}

async function closeLog(context: ContainerContext, entry: ContainerEntry): Promise<void> {
  await context.logger.close(entry.id).catch((error: unknown) => {
    context.log.warn({ container: entry.id, err: error }, "closing the container's log failed");
  });
}

/** Kills what is left of a task and removes it from its shim. Idempotent. */
export async function killTask(shim: ContainerShim, id: string, options: { signal: AbortSignal }): Promise<void> {
  try {
    await shim.kill(id, { signal: 9, all: true }, options);
    await shim.wait(id, options);
  } catch (error) {
    if (!isKind(error, "not-found")) throw CridError.from(error, `kill container ${shortId(id)}`);
  }
  await deleteTask(shim, id, options);
}

/**
 * Undoes a Create that may have been given up: the task if there is one in the end, else what the runtime left.
 */
export async function undoCreate(
  context: ContainerContext,
  entry: ContainerEntry,
  shim: ContainerShim,
  options: { signal: AbortSignal },
): Promise<void> {
  const { id } = entry;
  if (await settleCreate(shim, id, options)) return killTask(shim, id, options);
  const cgroup = entry.record.cgroupsPath ?? context.pods.get(entry.record.sandboxId).containerCgroupsPath(id);
  await clearLostCreate(context, { id, bundle: bundlePath(context, id), binary: shim.address.binary, cgroup }, options);
}

async function deleteTask(shim: ContainerShim, id: string, options: { signal: AbortSignal }): Promise<void> {
  try {
    await shim.delete(id, options);
  } catch (error) {
    if (!isKind(error, "not-found")) throw error;
  }
}

/** A status without the process: the task is gone from the shim. */
export function withoutProcess(status: Readonly<ContainerStatusRecord>): ContainerStatusRecord {
  const { process: _gone, ...rest } = status;
  return rest;
}
