import type { Nanos } from "../base/time.ts";

/** What a cgroup and those below it have used. Absent: the controller is not there, or the kernel does not say. */
export interface CgroupStats {
  /** When it was read. */
  at: Nanos;
  cpu?: CpuStats;
  memory?: MemoryStats;
  pids?: { current: bigint; limit?: bigint };
  io?: IoStats[];
  hugetlb?: HugetlbStats[];
  psi?: { cpu?: Pressure; memory?: Pressure; io?: Pressure };
}

/** Times are nanoseconds of CPU since the cgroup was made. */
export interface CpuStats {
  usageNanos: bigint;
  userNanos: bigint;
  systemNanos: bigint;
  /** CFS periods in which it could run, those in which its quota ran out, and how long it was held back. */
  periods: bigint;
  throttledPeriods: bigint;
  throttledNanos: bigint;
  /** Periods that used more than the quota, and how much more, where bursts are allowed. */
  burstPeriods: bigint;
  burstNanos: bigint;
}

/** Bytes. */
export interface MemoryStats {
  usage: bigint;
  /** usage less the file cache that is inactive: what the kubelet compares with limits and evicts by. */
  workingSet: bigint;
  /** Anonymous memory. */
  rss: bigint;
  pageFaults: bigint;
  majorPageFaults: bigint;
  limit?: bigint;
  /** limit less workingSet, at least 0; absent without a limit. */
  available?: bigint;
  swapUsage?: bigint;
  swapLimit?: bigint;
  /** limit less usage of swap, at least 0. */
  swapAvailable?: bigint;
}

/** Of one block device, "8:0". */
export interface IoStats {
  device: string;
  readBytes: bigint;
  writeBytes: bigint;
  reads: bigint;
  writes: bigint;
}

export interface HugetlbStats {
  /** As the kernel names it: "2MB", "1GB". */
  pageSize: string;
  usage: bigint;
  limit?: bigint;
}

/** Pressure stall information: the share of time (percent) that some or all tasks waited, and the total in microseconds. */
export interface Pressure {
  some: PressureLine;
  full?: PressureLine;
}

export interface PressureLine {
  avg10: number;
  avg60: number;
  avg300: number;
  totalMicros: bigint;
}

/** Reads a file of the cgroup; undefined when there is none. */
export type ReadFile = (file: string) => Promise<string | undefined>;

/** How the file formats of one cgroup version become stats. Each gives undefined when the controller's files are not there. */
export interface StatsReader {
  cpu(read: ReadFile): Promise<CpuStats | undefined>;
  memory(read: ReadFile): Promise<MemoryStats | undefined>;
  io(read: ReadFile): Promise<IoStats[] | undefined>;
  hugetlb(read: ReadFile, pageSize: string): Promise<HugetlbStats | undefined>;
  oomKills(read: ReadFile): Promise<number | undefined>;
}

/** The limits and what is left of them, from raw values. */
export function memoryStats(raw: {
  usage: bigint;
  inactiveFile: bigint;
  rss: bigint;
  pageFaults: bigint;
  majorPageFaults: bigint;
  limit: bigint | undefined;
  swapUsage: bigint | undefined;
  swapLimit: bigint | undefined;
}): MemoryStats {
  const { usage, rss, pageFaults, majorPageFaults, limit, swapUsage, swapLimit } = raw;
  const workingSet = less(usage, raw.inactiveFile);
  return {
    usage,
    workingSet,
    rss,
    pageFaults,
    majorPageFaults,
    ...(limit !== undefined && { limit, available: less(limit, workingSet) }),
    ...(swapUsage !== undefined && { swapUsage }),
    ...(swapLimit !== undefined && { swapLimit, swapAvailable: less(swapLimit, swapUsage ?? 0n) }),
  };
}

/** The difference, at least 0: two files are not read at the same moment. */
export function less(from: bigint, what: bigint): bigint {
  return from > what ? from - what : 0n;
}
