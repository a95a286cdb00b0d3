import { CridError } from "../base/errors.ts";
import type { LinuxResources } from "../records/pod-config.ts";
import type { SpecHost } from "./host.ts";
import type { OciResources } from "./spec.ts";

/**
 * The cgroup limits for a spec, or for the shim's Update. What the CRI leaves unset (0, "") is left out, so an update does not touch it.
 *
 * A memory limit without a swap limit also limits memory plus swap to it: a container does not swap unless the kubelet asks for that.
 */
export function cgroupResources(resources: LinuxResources, host: Pick<SpecHost, "swapController" | "hugetlbController">): OciResources {
  const cpu = {
    ...(resources.cpuShares !== 0 && { shares: resources.cpuShares }),
    ...(resources.cpuQuota !== 0 && { quota: resources.cpuQuota }),
    ...(resources.cpuPeriod !== 0 && { period: resources.cpuPeriod }),
    ...(resources.cpusetCpus !== "" && { cpus: resources.cpusetCpus }),
    ...(resources.cpusetMems !== "" && { mems: resources.cpusetMems }),
  };
  const swap = resources.memorySwapLimitBytes !== 0 ? resources.memorySwapLimitBytes : resources.memoryLimitBytes;
  const memory = {
    ...(resources.memoryLimitBytes !== 0 && { limit: resources.memoryLimitBytes }),
    ...(swap !== 0 && host.swapController && { swap }),
  };
  const hugepages = host.hugetlbController ? resources.hugepageLimits : [];
  return {
    ...(Object.keys(cpu).length > 0 && { cpu }),
    ...(Object.keys(memory).length > 0 && { memory }),
    ...(hugepages.length > 0 && { hugepageLimits: hugepages }),
    ...(Object.keys(resources.unified).length > 0 && { unified: resources.unified }),
  };
}

/** The limits after an update: what the update sets over what was. */
export function mergeResources(current: LinuxResources, update: LinuxResources): LinuxResources {
  const hugepages = new Map(current.hugepageLimits.map((limit) => [limit.pageSize, limit]));
  for (const limit of update.hugepageLimits) hugepages.set(limit.pageSize, limit);
  return {
    cpuPeriod: update.cpuPeriod || current.cpuPeriod,
    cpuQuota: update.cpuQuota || current.cpuQuota,
    cpuShares: update.cpuShares || current.cpuShares,
    memoryLimitBytes: update.memoryLimitBytes || current.memoryLimitBytes,
    // The score of a process is set when it starts; an update has no means to change it.
    oomScoreAdj: current.oomScoreAdj,
    cpusetCpus: update.cpusetCpus || current.cpusetCpus,
    cpusetMems: update.cpusetMems || current.cpusetMems,
    hugepageLimits: [...hugepages.values()],
    unified: { ...current.unified, ...update.unified },
    memorySwapLimitBytes: update.memorySwapLimitBytes || current.memorySwapLimitBytes,
  };
}

/** An oom_score_adj that the daemon may set: raised to `min` where the kernel would refuse it. */
export function clampOomScoreAdj(wanted: number, min: number): number {
  if (wanted < -1000 || wanted > 1000) throw new CridError("invalid-argument", `oom_score_adj ${wanted} is out of range -1000 to 1000`);
  return Math.max(wanted, min);
}
