import { CridError, isErrno } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import { removePodDirs } from "./dirs.ts";
import { endProcess } from "./end-process.ts";
import { type Env, publish } from "./env.ts";
import { tellRemoved } from "./plugins.ts";
import type { Pod } from "./pod.ts";
import { stopPod } from "./stop.ts";

/** A container that was being created when the pod was stopped may appear afterwards: look again this many times. */
const CONTAINER_ROUNDS = 3;

/**
 * Removes a pod whose lock the caller holds: stops it if need be, removes its containers, its directories, and its record last.
 * Idempotent: after a failure, or a crash, the next Remove goes on.
 */
export async function removePod(env: Env, pod: Pod, options: { signal: AbortSignal }): Promise<void> {
  const { deps } = env;
  const { signal } = options;
  // A pod that never became ready may have a shim that no record names yet.
  const halfMade = pod.record.state === "creating";
  try {
    if (pod.record.removing !== true) pod.update({ removing: true });
    await failpoint("sandbox.remove.after-mark", { signal });
    await stopPod(env, pod, options);
    await removeContainers(env, pod, options);
    if (halfMade) await endProcess(env, pod, options);
    if (!halfMade) await tellRemoved(env, pod);
    await removeCgroup(env, pod, pod.id);
    await failpoint("sandbox.remove.after-containers", { signal });
    // The pod may come from a daemon that had an image for it, whatever the configuration says now.
    const images = deps.images;
    if (images !== undefined && (deps.settings.pauseImage !== "" || images.holdsRootfs(pod.id))) await images.releaseRootfs(pod.id);
    await removePodDirs(pod.files);
    await failpoint("sandbox.remove.after-directories", { signal });
    deps.store.sandboxes.delete(pod.id);
  } catch (error) {
    throw CridError.from(error, `remove pod sandbox ${pod.title}`);
  }
  env.pods.delete(pod.id);
  publish(env, "deleted", pod);
}

async function removeContainers(env: Env, pod: Pod, options: { signal: AbortSignal }): Promise<void> {
  const containers = env.containers();
  for (let round = 0; round < CONTAINER_ROUNDS; round++) {
    const left = containers.list({ sandboxId: pod.id });
    if (left.length === 0) return;
    const removals = left.map(async ({ record }) => {
      await containers.remove(record.id, options);
      await removeCgroup(env, pod, record.id, record.cgroupsPath);
    });
    for (const result of await Promise.allSettled(removals)) if (result.status === "rejected") throw result.reason;
  }
}

/**
 * The OCI runtime removes a cgroup with its container, unless it has lost its state: after a crash, or when the state directory was
 * emptied. Costs a few system calls when there is none.
 */
async function removeCgroup(env: Env, pod: Pod, id: string, path = pod.containerCgroupsPath(id)): Promise<void> {
  const { cgroups, log } = env.deps;
  try {
    await cgroups.remove(path);
  } catch (error) {
    if (!isErrno(error, "EBUSY")) {
      log.warn({ sandbox: pod.id, cgroup: path, err: error }, "could not remove a cgroup");
      return;
    }
    log.warn({ sandbox: pod.id, cgroup: path }, "killing what is left in a cgroup of a pod that is removed");
    await cgroups.killAll(path);
    await cgroups.remove(path);
  }
}
