import type { CgroupLimits } from "../../cgroup/limits.ts";
import type { MemoryDetail } from "../../cgroup/memory-detail.ts";
import { cgroupOf } from "../../cgroup/paths.ts";
import type { CgroupStats } from "../../cgroup/stats.ts";
import { type ProcessDetail, readProcessDetail } from "./process-detail.ts";

/** A cgroup with everything that the cAdvisor-like metrics ask for. */
export interface CgroupSample {
  readonly cgroupPath: string;
  /** Absent when it could not be read. */
  readonly cgroup?: CgroupStats;
  readonly memoryDetail: MemoryDetail;
  readonly limits: CgroupLimits;
  readonly oomKills: number;
  /** Of the processes right in it. */
  readonly processes: ProcessDetail;
}

export interface SampledCgroups {
  memoryDetail(target: string): Promise<MemoryDetail>;
  limits(target: string): Promise<CgroupLimits>;
  oomKills(target: string): Promise<number>;
  pids(target: string): Promise<number[]>;
}

/**
 * Reads what metrics ask for beyond the usual stats.
 *
 * @param path an OCI `cgroupsPath`, or a cgroup
 * @param group whether it holds other cgroups and no process of its own
 */
export async function sampleCgroup(
  cgroups: SampledCgroups,
  path: string,
  cgroup: CgroupStats | undefined,
  options: { group: boolean },
): Promise<CgroupSample> {
  const [memoryDetail, limits, oomKills, pids] = await Promise.all([
    cgroups.memoryDetail(path),
    cgroups.limits(path),
    cgroups.oomKills(path),
    options.group ? [] : cgroups.pids(path).catch(() => []),
  ]);
  const processes = await readProcessDetail(pids);
  return { cgroupPath: cgroupOf(path), ...(cgroup && { cgroup }), memoryDetail, limits, oomKills, processes };
}
