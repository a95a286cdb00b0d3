import { CridError, isKind } from "../base/errors.ts";
import { shortId } from "../base/ids.ts";
import { raceAbort } from "../base/keyed-mutex.ts";
import { settlesWithin } from "../base/long-timer.ts";
import { type ContainerContext, cgroupsPathOf } from "./context.ts";
import type { ContainerShim } from "./deps.ts";
import type { ContainerEntry } from "./entry.ts";
import { taskLost } from "./exit.ts";

const SIGKILL = 9;
/** How long after SIGKILL through the runtime every process of the cgroup is killed as well, and how often from then on. */
const ESCALATE_AFTER_MS = 2_000;

/**
 * Stops a container: its stop signal, then after `graceMs` SIGKILL to all of its processes, then to whatever the cgroup holds. Returns when the exit is
 * on record; succeeds at once for one that does not run. Holds no lock while it waits, so that a second call with a shorter grace can cut it short.
 *
 * @throws the signal's reason; deadline-exceeded names what was waited for
 */
export async function stopContainer(
  context: ContainerContext,
  entry: ContainerEntry,
  options: { graceMs: number; signal: AbortSignal },
): Promise<void> {
  const { signal, graceMs } = options;
  // A start under way must come to its end first; it is short.
  (await context.locks.acquire(entry.id, { signal }))[Symbol.dispose]();
  if (entry.state !== "running" && entry.state !== "unknown") return;
  const step = `stop container ${entry.record.config.name} (${shortId(entry.id)})`;
  const shim = await shimOf(context, entry, signal);
  if (shim === undefined) return;
  const begun = Date.now();
  try {
    if (graceMs > 0) {
      if (!entry.stopSignalSent) {
        entry.stopSignalSent = true;
        await kill(shim, entry, { signal: entry.record.stopSignal, all: false }, signal);
      }
      if (await settlesWithin(entry.exited, graceMs, { signal })) return;
      context.log.info({ container: entry.id, graceMs }, "the grace period is over; killing");
    }
    await kill(shim, entry, { signal: SIGKILL, all: true }, signal);
    while (!(await settlesWithin(entry.exited, ESCALATE_AFTER_MS, { signal }))) {
      context.log.warn({ container: entry.id, sinceMs: Date.now() - begun }, "still there after SIGKILL; killing its cgroup");
      await killCgroup(context, entry);
    }
  } catch (error) {
    throw CridError.from(error, `${step}: waiting for its processes to end for ${Date.now() - begun} ms`);
  }
}

/** The pod's shim; undefined when it is dead, and the container's end was recorded because of that. */
async function shimOf(context: ContainerContext, entry: ContainerEntry, signal: AbortSignal): Promise<ContainerShim | undefined> {
  const pod = context.pods.find(entry.record.sandboxId);
  try {
    if (pod !== undefined) return await pod.shim({ signal });
  } catch (error) {
    if (!isKind(error, "unavailable")) throw error;
  }
  await raceAbort(taskLost(context, entry, "the pod's shim was gone when the container was stopped"), signal);
  return undefined;
}

async function kill(shim: ContainerShim, entry: ContainerEntry, how: { signal: number; all: boolean }, signal: AbortSignal): Promise<void> {
  try {
    await shim.kill(entry.id, how, { signal });
  } catch (error) {
    // It has ended by itself, or the shim died: whoever watches it records that.
    if (!isKind(error, "not-found") && !isKind(error, "unavailable")) throw error;
  }
}

async function killCgroup(context: ContainerContext, entry: ContainerEntry): Promise<void> {
  const path = cgroupsPathOf(context, entry.record);
  if (path === undefined) return;
  await context.cgroups.killAll(path).catch((error: unknown) => {
    context.log.warn({ container: entry.id, err: error }, "killing the container's cgroup failed");
  });
}
