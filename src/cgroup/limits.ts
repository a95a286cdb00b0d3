import { parseNumber } from "./parse.ts";
import type { ReadFile } from "./stats.ts";

/** What a cgroup may use, in the units of cgroup v1 whatever the version is; 0 where there is no limit. */
export interface CgroupLimits {
  /** Microseconds; 0 where the kernel has no quotas. */
  cpuPeriod: bigint;
  cpuQuota: bigint;
  cpuShares: bigint;
  /** Bytes. */
  memory: bigint;
  /** v2: of swap alone. v1: of memory and swap together. */
  memoryAndSwap: bigint;
  memoryReservation: bigint;
}

/** v1's "no limit" is the largest multiple of a page. */
const none = 1n << 62n;

function bytes(text: string | undefined): bigint {
  const value = parseNumber(text) ?? 0n;
  return value >= none ? 0n : value;
}

/** How the files of each version say it. They are in two hierarchies under v1. */
export const cgroupLimits: Record<1 | 2, (cpu: ReadFile, memory: ReadFile) => Promise<CgroupLimits>> = {
  async 1(cpu, memory) {
    const [period, quota, shares] = await Promise.all(["cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.shares"].map(cpu));
    const [limit, swap, soft] = await Promise.all(
      ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes"].map(memory),
    );
    return {
      cpuPeriod: parseNumber(period) ?? 0n,
      // -1 is none, and no number to the parser.
      cpuQuota: parseNumber(quota) ?? 0n,
      cpuShares: parseNumber(shares) ?? 0n,
      memory: bytes(limit),
      memoryAndSwap: bytes(swap),
      memoryReservation: bytes(soft),
    };
  },

  async 2(cpu, memory) {
    const [max, weightText] = await Promise.all(["cpu.max", "cpu.weight"].map(cpu));
    const [limit, swap, min] = await Promise.all(["memory.max", "memory.swap.max", "memory.min"].map(memory));
    const [quota, period] = (max ?? "").trim().split(" ");
    const weight = parseNumber(weightText);
    return {
      cpuPeriod: parseNumber(period) ?? 0n,
      cpuQuota: parseNumber(quota) ?? 0n,
      // 1..10000 to 2..262144, as cAdvisor tells it.
      cpuShares: weight === undefined ? 0n : 2n + ((weight - 1n) * 262142n) / 9999n,
      memory: bytes(limit),
      memoryAndSwap: bytes(swap),
      memoryReservation: bytes(min),
    };
  },
};
