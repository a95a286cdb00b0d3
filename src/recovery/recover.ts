import { readFileSync } from "node:fs";
import pLimit from "p-limit";
import type { Pod } from "../sandbox/pod.ts";
import type { RecoveryDeps } from "./deps.ts";
import { collectNetworks } from "./networks.ts";
import { type Orphan, sweepOrphans } from "./orphans.ts";
import { isUnfinished, type PodOutcome, recoverPod } from "./pods.ts";

/*
 * What a start may assume:
 *
 * 1. This daemon is the only one of its root: it holds the lock.
 * 2. Whatever exists outside has a record that was written before it: a pod's namespace, attachments and shim follow from its record
 *    and its id, a container's bundle and snapshot from its id. What no record names is left over.
 * 3. Shims, pauses, containers and the logger outlive the daemon. A shim answers at the address on record, or at the one that
 *    follows from the pod's id, or it is dead; one that listens but is slow is not dead. A pid with its start time is one process.
 * 4. After a reboot (another boot id) no process, mount, namespace or socket of ours is left, but addresses that plugins keep on
 *    disk are: they are given back from the results on record. The same holds for a state directory that somebody emptied.
 * 5. The store is complete and in memory before anything is looked at, so List and Status answer at once, and calls on a pod that
 *    is being recovered wait on that pod's lock only.
 * 6. Nothing is ours that is not below our directories, and no shim that does not see our state directory at our address. Two daemons
 *    on one machine never touch each other's things, also when one is in a container that has the same paths.
 * 7. What is swept is listed first and looked up afterwards: a thing that is made meanwhile has its record before it exists.
 */

/** Undoing, removing and giving addresses back runs plugins and the OCI runtime; connecting to shims costs nothing and is done for all at once. */
const UNDONE_AT_ONCE = 4;
const CONTAINERS_TIMEOUT_MS = 60_000;
const BOOT_ID_KEY = "boot-id";

export interface RecoveryReport {
  rebooted: boolean;
  pods: Record<PodOutcome, number>;
  orphans: Orphan[];
  ms: number;
}

/**
 * Brings memory, store and the machine together after a start. To be called before the server takes calls, and not to be waited for by it:
 * what was there is noted at once, the rest goes on beside the first calls. Never throws for a single thing's sake: each is
 * logged, and left for the next start.
 */
export function recover(deps: RecoveryDeps, options: { signal: AbortSignal }): Promise<RecoveryReport> {
  // At once: from the first call on there may be pods that are being made by this daemon.
  const pods = [...deps.sandboxes.env.pods.values()];
  const rebooted = noteBoot(deps);
  return recoverAll(deps, pods, rebooted, options);
}

async function recoverAll(deps: RecoveryDeps, pods: Pod[], rebooted: boolean, options: { signal: AbortSignal }): Promise<RecoveryReport> {
  const begun = performance.now();
  const { signal } = options;
  const outcomes: Record<PodOutcome, number> = { running: 0, ended: 0, undone: 0, removed: 0, failed: 0 };
  const few = pLimit(UNDONE_AT_ONCE);
  const one = async (pod: Pod): Promise<void> => {
    const outcome = await recoverPod(deps.sandboxes.env, pod, { rebooted, signal });
    outcomes[outcome]++;
    // Of a pod that is gone as well: a container whose creation was interrupted is nowhere but on record.
    await recoverContainers(deps, pod, signal);
  };
  await Promise.all(pods.map((pod) => (rebooted || isUnfinished(pod) ? few(() => one(pod)) : one(pod))));
  await forgetLostContainers(deps, signal);
  deps.sandboxes.retries.start();
  await collectNetworks(deps, { signal });
  const orphans = signal.aborted ? [] : await sweepOrphans(deps, { signal });
  const report = { rebooted, pods: outcomes, orphans, ms: Math.round(performance.now() - begun) };
  deps.log.info(report, "recovery is done");
  return report;
}

async function recoverContainers(deps: RecoveryDeps, pod: Pod, signal: AbortSignal): Promise<void> {
  try {
    await deps.containers.recover(pod.id, { signal: AbortSignal.any([signal, AbortSignal.timeout(CONTAINERS_TIMEOUT_MS)]) });
  } catch (error) {
    deps.log.warn({ sandbox: pod.id, err: error }, "recovering the containers of a pod failed");
  }
}

/** Containers whose pod has no record: only a damaged store has such. Without the pod they can't be managed. */
async function forgetLostContainers(deps: RecoveryDeps, signal: AbortSignal): Promise<void> {
  const lost = deps.store.containers.all().filter((record) => deps.store.sandboxes.get(record.sandboxId) === undefined);
  for (const { id, sandboxId } of lost) {
    deps.log.warn({ container: id, sandbox: sandboxId }, "a container's pod is not on record; removing the container");
    try {
      await deps.containers.recover(sandboxId, { signal });
      await deps.sandboxes.env.containers().remove(id, { signal });
    } catch (error) {
      deps.log.warn({ container: id, err: error }, "removing a container without a pod failed");
    }
  }
}

/**
 * Compares the boot id with the one on record. After a reboot no shim is left, so the pods lose theirs in the same commit that notes
 * the new boot.
 */
function noteBoot(deps: RecoveryDeps): boolean {
  const { store, sandboxes, log } = deps;
  const bootId = deps.bootId ?? readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  const before = store.meta.get(BOOT_ID_KEY);
  const rebooted = before !== undefined && before !== bootId;
  if (before === bootId) return false;
  const changed: { pod: Pod; next: Pod["record"] }[] = [];
  store.transaction(
    () => {
      changed.length = 0;
      for (const pod of rebooted ? sandboxes.env.pods.values() : []) {
        const { process: _gone, ...rest } = pod.record;
        const next: Pod["record"] = { ...rest, state: rest.state === "creating" ? "creating" : "not-ready" };
        store.sandboxes.put(next);
        changed.push({ pod, next });
      }
      store.meta.set(BOOT_ID_KEY, bootId);
    },
    { frees: true },
  );
  for (const { pod, next } of changed) pod.replaced(next);
  if (rebooted) log.info({ pods: changed.length }, "the machine was rebooted: no pod is ready any more");
  return rebooted;
}
