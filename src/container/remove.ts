import { rm } from "node:fs/promises";
import { join } from "node:path";
import { CridError, isKind } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import { shortId } from "../base/ids.ts";
import { raceAbort } from "../base/keyed-mutex.ts";
import { nowNanos } from "../base/time.ts";
import { detachAll } from "../linux/mount.ts";
import type { ContainerRecord } from "../records/container-record.ts";
import { bundlePath, type ContainerContext, dataPath } from "./context.ts";
import type { ContainerEntry } from "./entry.ts";
import { killTask, undoCreate, withoutProcess } from "./exit.ts";
import { tellPlugins, tellStopped } from "./plugins.ts";
import { stopContainer } from "./stop.ts";

/**
 * Kills a container if it runs and removes everything of it. Every step can be repeated: one that fails leaves the record, marked `removing`, and the next
 * call or the next start of the daemon goes on.
 */
export async function removeContainer(context: ContainerContext, entry: ContainerEntry, options: { signal: AbortSignal }): Promise<void> {
  const { signal } = options;
  const step = `remove container ${entry.record.config.name} (${shortId(entry.id)})`;
  try {
    await stopContainer(context, entry, { graceMs: 0, signal });
    using _lock = await context.locks.acquire(entry.id, options);
    // Another call was faster.
    if (!context.entries.has(entry.id)) return;
    if (entry.state === "running") throw new CridError("aborted", "it was started meanwhile; try again");
    if (!entry.record.status.removing) entry.update((status) => ({ ...status, removing: true }));
    await failpoint("container.remove.after-mark", { signal });
    await raceAbort(entry.taskRemoval, signal);
    // One that never ran ends here, for plugins.
    void tellStopped(context, entry);
    if (!entry.removalTold) {
      entry.removalTold = true;
      void tellPlugins(context, entry, "RemoveContainer");
    }
    await raceAbort(entry.notices, signal);
    await removeLeftTask(context, entry, signal);
    await releaseResources(context, entry.record);
    await failpoint("container.remove.before-record", { signal });
    context.table.delete(entry.id);
    context.entries.delete(entry.id);
    const { sandboxId } = entry.record;
    if (![...context.entries.values()].some(({ record }) => record.sandboxId === sandboxId)) context.oomCounts.forget(sandboxId);
  } catch (error) {
    throw CridError.from(error, step);
  }
  context.events.publish({ type: "deleted", containerId: entry.id, sandboxId: entry.record.sandboxId, at: nowNanos() });
}

/** A task that could not be removed when it ended. */
async function removeLeftTask(context: ContainerContext, entry: ContainerEntry, signal: AbortSignal): Promise<void> {
  const { process } = entry.record.status;
  if (process === undefined) return;
  const pod = context.pods.find(entry.record.sandboxId);
  try {
    if (pod === undefined) throw new CridError("unavailable", "the pod is gone");
    const shim = await pod.shim({ signal });
    // One whose start was given up: the task may never have been, and yet left something.
    if (process.pid === 0) await undoCreate(context, entry, shim, { signal });
    else await killTask(shim, entry.id, { signal });
  } catch (error) {
    if (!isKind(error, "unavailable")) throw error;
    await context.shims
      .delete({ id: entry.id, bundle: bundlePath(context, entry.id), binary: process.shim.binary }, { signal })
      .catch((gone: unknown) => {
        if (!isKind(gone, "not-found")) throw gone;
      });
  }
  entry.update(withoutProcess);
}

/** Everything outside the store that belongs to a container. Idempotent; also used for one whose creation was interrupted. */
export async function releaseResources(context: ContainerContext, record: ContainerRecord): Promise<void> {
  const { id } = record;
  await context.logger.close(id);
  const bundle = bundlePath(context, id);
  // The shim unmounts it; a shim that was killed did not.
  detachAll(join(bundle, "rootfs"));
  detachAll(join(dataPath(context, id), "rootfs"));
  for (const { snapshotKey } of record.imageMounts) await context.images.releaseVolume(snapshotKey);
  await context.images.releaseRootfs(id);
  await rm(bundle, { recursive: true, force: true });
  await rm(dataPath(context, id), { recursive: true, force: true });
}
