import type { Pressure } from "../../cgroup/stats.ts";
import { COUNTER, type Definition, GAUGE, type InPod, type Measured, one, seconds } from "./metric-definition.ts";

type Metric = Definition<InPod<Measured>>;

/** cAdvisor tells these of cgroups with a quota alone. */
const withQuota = (sample: Measured, value: bigint | undefined): bigint | undefined => (sample.limits.cpuQuota > 0n ? value : undefined);

const cpu: readonly Metric[] = [
  {
    name: "container_cpu_usage_seconds_total",
    help: "Seconds of CPU time used.",
    type: COUNTER,
    labels: ["cpu"],
    values: ({ sample }) => [{ labels: ["total"], value: seconds(sample.cgroup?.cpu?.usageNanos) }],
  },
  one(COUNTER, "container_cpu_user_seconds_total", "Seconds of CPU time used in user mode.", ({ cgroup }) =>
    seconds(cgroup?.cpu?.userNanos),
  ),
  one(COUNTER, "container_cpu_system_seconds_total", "Seconds of CPU time used in the kernel.", ({ cgroup }) =>
    seconds(cgroup?.cpu?.systemNanos),
  ),
  one(COUNTER, "container_cpu_cfs_periods_total", "CPU enforcement periods.", (sample) => withQuota(sample, sample.cgroup?.cpu?.periods)),
  one(COUNTER, "container_cpu_cfs_throttled_periods_total", "Periods in which the quota ran out.", (sample) =>
    withQuota(sample, sample.cgroup?.cpu?.throttledPeriods),
  ),
  one(COUNTER, "container_cpu_cfs_throttled_seconds_total", "Seconds of being held back by the quota.", (sample) =>
    withQuota(sample, seconds(sample.cgroup?.cpu?.throttledNanos)),
  ),
  one(COUNTER, "container_cpu_cfs_burst_periods_total", "Periods that used more than the quota.", (sample) =>
    withQuota(sample, sample.cgroup?.cpu?.burstPeriods),
  ),
  one(COUNTER, "container_cpu_cfs_burst_seconds_total", "Seconds used beyond the quota.", (sample) =>
    withQuota(sample, seconds(sample.cgroup?.cpu?.burstNanos)),
  ),
];

const memory: readonly Metric[] = [
  one(GAUGE, "container_memory_usage_bytes", "Memory in use, all kinds.", ({ cgroup }) => cgroup?.memory?.usage),
  one(GAUGE, "container_memory_working_set_bytes", "Memory in use less inactive file cache.", ({ cgroup }) => cgroup?.memory?.workingSet),
  one(GAUGE, "container_memory_rss", "Anonymous memory.", ({ cgroup }) => cgroup?.memory?.rss),
  one(GAUGE, "container_memory_swap", "Swap in use.", ({ cgroup }) => cgroup?.memory?.swapUsage ?? 0n),
  detail(GAUGE, "container_memory_cache", "Page cache.", "cache"),
  detail(GAUGE, "container_memory_total_active_file_bytes", "Page cache that was used lately.", "activeFile"),
  detail(GAUGE, "container_memory_total_inactive_file_bytes", "Page cache that goes first when memory runs short.", "inactiveFile"),
  detail(GAUGE, "container_memory_mapped_file", "Page cache that is mapped.", "mappedFile"),
  detail(GAUGE, "container_memory_file_dirty_bytes", "Page cache that is to be written.", "dirty"),
  detail(GAUGE, "container_memory_file_writeback_bytes", "Page cache that is being written.", "writeback"),
  detail(GAUGE, "container_memory_kernel_usage", "The kernel's memory on behalf of the container.", "kernel"),
  detail(GAUGE, "container_memory_max_usage_bytes", "The most memory that was ever in use.", "peak"),
  detail(COUNTER, "container_memory_failcnt", "How often the memory limit was hit.", "limitHits"),
  detail(COUNTER, "container_memory_events_max_total", "How often the memory limit was hit (cgroup v2).", "limitHits"),
  detail(COUNTER, "container_memory_events_high_total", "How often it was over memory.high (cgroup v2).", "highHits"),
  detail(COUNTER, "container_memory_pgscan_total", "Pages that reclaim looked at.", "scanned"),
  detail(COUNTER, "container_memory_pgsteal_total", "Pages that reclaim took.", "stolen"),
  detail(
    COUNTER,
    "container_memory_workingset_refault_file_total",
    "Pages of files that were needed again soon after reclaim.",
    "refaultedFile",
  ),
  detail(
    COUNTER,
    "container_memory_workingset_refault_anon_total",
    "Anonymous pages that were needed again soon after reclaim.",
    "refaultedAnon",
  ),
  {
    name: "container_memory_failures_total",
    help: "Page faults by kind.",
    type: COUNTER,
    labels: ["failure_type", "scope"],
    // cAdvisor has one count for both scopes as well.
    values: ({ sample: { cgroup } }) =>
      ["container", "hierarchy"].flatMap((scope) => [
        { labels: ["pgfault", scope], value: cgroup?.memory?.pageFaults },
        { labels: ["pgmajfault", scope], value: cgroup?.memory?.majorPageFaults },
      ]),
  },
  one(COUNTER, "container_oom_events_total", "Processes that the kernel killed for lack of memory.", ({ oomKills }) => BigInt(oomKills)),
];

const limits: readonly Metric[] = [
  one(GAUGE, "container_spec_cpu_period", "The CPU period in microseconds.", ({ limits }) => limits.cpuPeriod),
  one(GAUGE, "container_spec_cpu_quota", "The CPU quota in microseconds a period.", (sample) => withQuota(sample, sample.limits.cpuQuota)),
  one(GAUGE, "container_spec_cpu_shares", "The CPU shares.", ({ limits }) => limits.cpuShares),
  one(GAUGE, "container_spec_memory_limit_bytes", "The memory limit; 0 is none.", ({ limits }) => limits.memory),
  one(
    GAUGE,
    "container_spec_memory_swap_limit_bytes",
    "The swap limit, with cgroup v1 of memory and swap together; 0 is none.",
    ({ limits }) => limits.memoryAndSwap,
  ),
  one(
    GAUGE,
    "container_spec_memory_reservation_limit_bytes",
    "The memory reservation; 0 is none.",
    ({ limits }) => limits.memoryReservation,
  ),
];

const processes: readonly Metric[] = [
  one(GAUGE, "container_processes", "Processes.", ({ processes }) => BigInt(processes.processes)),
  one(GAUGE, "container_threads", "Threads.", ({ cgroup }) => cgroup?.pids?.current),
  one(GAUGE, "container_threads_max", "Threads allowed; 0 is no limit.", ({ cgroup }) => cgroup?.pids?.limit ?? 0n),
  one(GAUGE, "container_file_descriptors", "Open file descriptors.", ({ processes }) => BigInt(processes.fileDescriptors)),
  one(GAUGE, "container_sockets", "Open sockets.", ({ processes }) => BigInt(processes.sockets)),
  {
    name: "container_ulimits_soft",
    help: "Soft limits of the container's first process.",
    type: GAUGE,
    labels: ["ulimit"],
    values: ({ sample }) => [{ labels: ["max_open_files"], value: sample.processes.openFilesLimit }],
  },
  one(GAUGE, "container_creation_time_seconds", "When it was created, in seconds since 1970.", ({ createdAt }) => seconds(createdAt)),
  one(GAUGE, "container_start_time_seconds", "When it was started, in seconds since 1970.", ({ startedAt }) => seconds(startedAt)),
  one(GAUGE, "container_last_seen", "When it was last measured, in seconds since 1970.", ({ cgroup }) => seconds(cgroup?.at)),
];

const devices: readonly Metric[] = [
  {
    name: "container_hugetlb_usage_bytes",
    help: "Huge pages in use.",
    type: GAUGE,
    labels: ["pagesize"],
    values: ({ sample }) => (sample.cgroup?.hugetlb ?? []).map(({ pageSize, usage }) => ({ labels: [pageSize], value: usage })),
  },
  {
    name: "container_blkio_device_usage_total",
    help: "Bytes moved by device and operation.",
    type: COUNTER,
    labels: ["device", "major", "minor", "operation"],
    values: ({ sample, pod }) =>
      (sample.cgroup?.io ?? []).flatMap(({ device, readBytes, writeBytes }) => {
        const [major = "", minor = ""] = device.split(":");
        return [
          { labels: [pod.deviceName(device), major, minor, "Read"], value: readBytes },
          { labels: [pod.deviceName(device), major, minor, "Write"], value: writeBytes },
        ];
      }),
  },
  perDevice("container_fs_reads_bytes_total", "Bytes read.", "readBytes"),
  perDevice("container_fs_writes_bytes_total", "Bytes written.", "writeBytes"),
  perDevice("container_fs_reads_total", "Reads completed.", "reads"),
  perDevice("container_fs_writes_total", "Writes completed.", "writes"),
];

/** Of everything that has a cgroup, by the names that cAdvisor has for them. */
export const cgroupMetrics: readonly Metric[] = [
  ...cpu,
  ...memory,
  ...limits,
  ...processes,
  ...devices,
  ...(["cpu", "memory", "io"] as const).flatMap((resource) => [waited(resource, "waiting"), waited(resource, "stalled")]),
];

/** 0 where this kernel does not count it, as cAdvisor has it. */
function detail(type: Metric["type"], name: string, help: string, field: keyof Measured["memoryDetail"]): Metric {
  return one(type, name, help, ({ memoryDetail }) => memoryDetail[field] ?? 0n);
}

function waited(resource: "cpu" | "memory" | "io", kind: "waiting" | "stalled"): Metric {
  const line = (pressure: Pressure | undefined) => (kind === "waiting" ? pressure?.some : pressure?.full);
  return one(
    COUNTER,
    `container_pressure_${resource}_${kind}_seconds_total`,
    `Seconds that ${kind === "waiting" ? "some" : "all"} tasks of the container waited for ${resource}.`,
    ({ cgroup }) => {
      const total = line(cgroup?.psi?.[resource])?.totalMicros;
      return total === undefined ? undefined : total / 1_000_000n;
    },
  );
}

function perDevice(name: string, help: string, field: "readBytes" | "writeBytes" | "reads" | "writes"): Metric {
  return {
    name,
    help,
    type: COUNTER,
    labels: ["device"],
    values: ({ sample, pod }) => (sample.cgroup?.io ?? []).map((io) => ({ labels: [pod.deviceName(io.device)], value: io[field] })),
  };
}
