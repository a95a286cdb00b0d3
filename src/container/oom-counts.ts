import { posix } from "node:path";
import { cgroupOf, podCgroup } from "../cgroup/paths.ts";
import type { SpecHost } from "../oci/host.ts";
import type { ContainerCgroups, Pods } from "./deps.ts";
import type { ContainerEntry } from "./entry.ts";

/** The part of what operations on containers share that counting needs. */
interface Counting {
  readonly host: Pick<SpecHost, "cgroupVersion">;
  readonly pods: Pick<Pods, "find">;
  readonly cgroups: Pick<ContainerCgroups, "oomKills" | "children">;
  readonly entries: ReadonlyMap<string, ContainerEntry>;
}

/**
 * OOM kills of containers whose cgroup is gone before anybody could read its count. systemd removes a scope as soon as the last process of it has
 * ended, which is often before the exit arrives here; the shim's OOM event, told by the same count, can be lost for the same reason.
 *
 * The cgroup that a pod's containers are in outlives them, and with cgroup v2 it counts the kills in all below (memory.events). What neither the living
 * containers there nor those that ended before account for is that of the container that just ended. It has to be the pod's own, as the kubelet makes
 * it, or one with containers of ours alone: what others lose there would be taken for ours.
 */
export class PodOomCounts {
  /** What is accounted for, by cgroup. */
  readonly #accounted = new Map<string, number>();
  /** The cgroup that the containers of a pod are in, by pod. */
  readonly #parents = new Map<string, string>();

  /** Before a container starts, or when a running one was found: what was counted until now is not its. */
  async begin(context: Counting, entry: ContainerEntry): Promise<void> {
    const parent = await countedParent(context, entry);
    if (parent === undefined) return;
    this.#parents.set(entry.record.sandboxId, parent);
    const left = await unclaimed(context, entry, parent);
    // What ended here a moment ago may not have claimed its own yet. A slice that went and came back counts from 0.
    this.#accounted.set(parent, Math.min(left, this.#accounted.get(parent) ?? left));
  }

  /** How many kills are the container's that has just ended. They are accounted for from then on. */
  async claim(context: Counting, entry: ContainerEntry): Promise<number> {
    const parent = await countedParent(context, entry);
    const before = parent === undefined ? undefined : this.#accounted.get(parent);
    if (parent === undefined || before === undefined) return 0;
    const left = await unclaimed(context, entry, parent);
    this.#accounted.set(parent, Math.max(before, left));
    return Math.max(0, left - before);
  }

  /** The pod has no containers any more. */
  forget(sandboxId: string): void {
    const parent = this.#parents.get(sandboxId);
    this.#parents.delete(sandboxId);
    if (parent !== undefined && ![...this.#parents.values()].includes(parent)) this.#accounted.delete(parent);
  }
}

/** The cgroup that the container is in, when only containers of ours are. */
async function countedParent(context: Counting, entry: ContainerEntry): Promise<string | undefined> {
  const pod = context.pods.find(entry.record.sandboxId);
  if (context.host.cgroupVersion !== 2 || pod === undefined) return undefined;
  const path = pod.containerCgroupsPath(entry.id);
  const own = podCgroup(pod.config.uid, path);
  if (own !== undefined) return own;
  const parent = posix.dirname(cgroupOf(path));
  const isOurs = (id: string): boolean => context.entries.has(id) || context.pods.find(id) !== undefined;
  return (await context.cgroups.children(parent)).every((name) => isOurs(idOf(name))) ? parent : undefined;
}

/** The id of a container or pause in the name of its cgroup: `<id>`, with systemd `crid-<id>.scope`. */
function idOf(name: string): string {
  return /^crid-(.*)\.scope$/.exec(name)?.[1] ?? name;
}

/** The kills in the cgroup less those in the other living containers there. */
async function unclaimed(context: Counting, entry: ContainerEntry, parent: string): Promise<number> {
  const living = [...context.entries.values()]
    .filter((other) => other !== entry && other.state === "running")
    .map(({ id, record }) => context.pods.find(record.sandboxId)?.containerCgroupsPath(id) ?? "")
    .filter((path) => path !== "" && posix.dirname(cgroupOf(path)) === parent);
  const [all = 0, ...theirs] = await Promise.all([parent, ...living].map((path) => context.cgroups.oomKills(path)));
  return all - theirs.reduce((sum, kills) => sum + kills, 0);
}
