import { podCgroup } from "../cgroup/paths.ts";
import type { SpecHost } from "../oci/host.ts";
import type { ContainerCgroups, Pods } from "./deps.ts";
import type { ContainerEntry } from "./entry.ts";

/** The part of what operations on containers share that counting needs. */
interface Counting {
  readonly host: Pick<SpecHost, "cgroupVersion">;
  readonly pods: Pick<Pods, "find">;
  readonly cgroups: Pick<ContainerCgroups, "oomKills">;
  readonly entries: ReadonlyMap<string, ContainerEntry>;
}

/**
 * OOM kills of containers whose cgroup is gone before anybody could read its count. systemd removes a scope as soon as the last process of it has
 * ended, which is often before the exit arrives here; the shim's OOM event, told by the same count, can be lost for the same reason.
 *
 * The pod's own cgroup outlives it, and with cgroup v2 it counts the kills in all below (memory.events). What neither the pod's living containers nor
 * those that ended before account for is that of the container that just ended.
 */
export class PodOomCounts {
  /** What is accounted for, by pod. */
  readonly #accounted = new Map<string, number>();

  /** Before a container starts, or when a running one was found: what was counted until now is not its. */
  async begin(context: Counting, entry: ContainerEntry): Promise<void> {
    const { sandboxId } = entry.record;
    if (context.host.cgroupVersion !== 2 || this.#accounted.has(sandboxId)) return;
    const left = await unclaimed(context, entry);
    // Another container of the pod may have been faster.
    if (left !== undefined && !this.#accounted.has(sandboxId)) this.#accounted.set(sandboxId, left);
  }

  /** How many kills are the container's that has just ended. They are accounted for from then on. */
  async claim(context: Counting, entry: ContainerEntry): Promise<number> {
    const { sandboxId } = entry.record;
    const before = this.#accounted.get(sandboxId);
    if (context.host.cgroupVersion !== 2 || before === undefined) return 0;
    const left = await unclaimed(context, entry);
    if (left === undefined) return 0;
    this.#accounted.set(sandboxId, Math.max(before, left));
    return Math.max(0, left - before);
  }

  forget(sandboxId: string): void {
    this.#accounted.delete(sandboxId);
  }
}

/** The kills in the pod less those in its other living containers; undefined when the pod has no cgroup of its own. */
async function unclaimed(context: Counting, entry: ContainerEntry): Promise<number | undefined> {
  const { sandboxId } = entry.record;
  const pod = context.pods.find(sandboxId);
  const own = pod === undefined ? undefined : podCgroup(pod.config.uid, pod.containerCgroupsPath(entry.id));
  if (pod === undefined || own === undefined) return undefined;
  const others = [...context.entries.values()].filter(
    (other) => other !== entry && other.record.sandboxId === sandboxId && other.state === "running",
  );
  const [all = 0, ...living] = await Promise.all(
    [own, ...others.map(({ id }) => pod.containerCgroupsPath(id))].map((path) => context.cgroups.oomKills(path)),
  );
  return all - living.reduce((sum, kills) => sum + kills, 0);
}
