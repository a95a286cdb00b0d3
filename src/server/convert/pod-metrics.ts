import { runtime } from "../../../api/cri/runtime/v1/api.js";
import type { Pressure } from "../../cgroup/stats.ts";
import type { NetworkInterface } from "../../sandbox/stats/net-dev.ts";
import type { ContainerSample, PodSample } from "../../sandbox/stats/stats.ts";

const { COUNTER, GAUGE } = runtime.v1.MetricType;

/** A value, and the values of the labels that a metric has besides the usual ones. */
interface Value {
  labels?: string[];
  value: bigint | undefined;
}

interface Definition<Sample> {
  name: string;
  help: string;
  type: runtime.v1.MetricType;
  /** Label keys besides the usual ones. */
  labels: string[];
  values(sample: Sample): Value[];
}

/** The labels that cAdvisor gives to what the kubelet serves, so that dashboards made for it go on working. */
const usualLabels = ["container", "id", "image", "name", "namespace", "pod"];

const seconds = (nanos: bigint | undefined): bigint | undefined => (nanos === undefined ? undefined : nanos / 1_000_000_000n);

function one(
  type: runtime.v1.MetricType,
  name: string,
  help: string,
  value: (sample: ContainerSample, pod: PodSample) => bigint | undefined,
): Definition<InPod> {
  return { name, help, type, labels: [], values: ({ container, pod }) => [{ value: value(container, pod) }] };
}

interface InPod {
  container: ContainerSample;
  pod: PodSample;
}

function waited(resource: "cpu" | "memory" | "io", kind: "waiting" | "stalled"): Definition<InPod> {
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

function perDevice(name: string, help: string, field: "readBytes" | "writeBytes" | "reads" | "writes"): Definition<InPod> {
  return {
    name,
    help,
    type: COUNTER,
    labels: ["device"],
    values: ({ container, pod }) => (container.cgroup?.io ?? []).map((io) => ({ labels: [pod.deviceName(io.device)], value: io[field] })),
  };
}

const containerMetrics: Definition<InPod>[] = [
  one(COUNTER, "container_cpu_usage_seconds_total", "Seconds of CPU time used.", ({ cgroup }) => seconds(cgroup?.cpu?.usageNanos)),
  one(COUNTER, "container_cpu_user_seconds_total", "Seconds of CPU time used in user mode.", ({ cgroup }) =>
    seconds(cgroup?.cpu?.userNanos),
  ),
  one(COUNTER, "container_cpu_system_seconds_total", "Seconds of CPU time used in the kernel.", ({ cgroup }) =>
    seconds(cgroup?.cpu?.systemNanos),
  ),
  one(COUNTER, "container_cpu_cfs_periods_total", "CPU enforcement periods.", ({ cgroup }) => cgroup?.cpu?.periods),
  one(
    COUNTER,
    "container_cpu_cfs_throttled_periods_total",
    "Periods in which the quota ran out.",
    ({ cgroup }) => cgroup?.cpu?.throttledPeriods,
  ),
  one(COUNTER, "container_cpu_cfs_throttled_seconds_total", "Seconds of being held back by the quota.", ({ cgroup }) =>
    seconds(cgroup?.cpu?.throttledNanos),
  ),
  one(GAUGE, "container_memory_usage_bytes", "Memory in use, all kinds.", ({ cgroup }) => cgroup?.memory?.usage),
  one(GAUGE, "container_memory_working_set_bytes", "Memory in use less inactive file cache.", ({ cgroup }) => cgroup?.memory?.workingSet),
  one(GAUGE, "container_memory_rss", "Anonymous memory.", ({ cgroup }) => cgroup?.memory?.rss),
  one(GAUGE, "container_memory_swap", "Swap in use.", ({ cgroup }) => cgroup?.memory?.swapUsage ?? 0n),
  one(GAUGE, "container_memory_cache", "Page cache.", ({ memoryDetail }) => memoryDetail.cache ?? 0n),
  one(
    GAUGE,
    "container_memory_total_active_file_bytes",
    "Page cache that was used lately.",
    ({ memoryDetail }) => memoryDetail.activeFile ?? 0n,
  ),
  one(
    GAUGE,
    "container_memory_total_inactive_file_bytes",
    "Page cache that goes first when memory runs short.",
    ({ memoryDetail }) => memoryDetail.inactiveFile ?? 0n,
  ),
  one(GAUGE, "container_memory_mapped_file", "Page cache that is mapped.", ({ memoryDetail }) => memoryDetail.mappedFile ?? 0n),
  one(
    GAUGE,
    "container_memory_kernel_usage",
    "The kernel's memory on behalf of the container.",
    ({ memoryDetail }) => memoryDetail.kernel ?? 0n,
  ),
  one(GAUGE, "container_memory_max_usage_bytes", "The most memory that was ever in use.", ({ memoryDetail }) => memoryDetail.peak ?? 0n),
  one(COUNTER, "container_memory_failcnt", "How often the memory limit was hit.", ({ memoryDetail }) => memoryDetail.limitHits ?? 0n),
  {
    name: "container_memory_failures_total",
    help: "Page faults by kind.",
    type: COUNTER,
    labels: ["failure_type", "scope"],
    values: ({ container: { cgroup } }) => [
      { labels: ["pgfault", "container"], value: cgroup?.memory?.pageFaults },
      { labels: ["pgmajfault", "container"], value: cgroup?.memory?.majorPageFaults },
    ],
  },
  one(COUNTER, "container_oom_events_total", "Processes that the kernel killed for lack of memory.", ({ oomKills }) => BigInt(oomKills)),
  waited("cpu", "waiting"),
  waited("cpu", "stalled"),
  waited("memory", "waiting"),
  waited("memory", "stalled"),
  waited("io", "waiting"),
  waited("io", "stalled"),
  {
    name: "container_hugetlb_usage_bytes",
    help: "Huge pages in use.",
    type: GAUGE,
    labels: ["pagesize"],
    values: ({ container }) => (container.cgroup?.hugetlb ?? []).map(({ pageSize, usage }) => ({ labels: [pageSize], value: usage })),
  },
  {
    name: "container_blkio_device_usage_total",
    help: "Bytes moved by device and operation.",
    type: COUNTER,
    labels: ["device", "major", "minor", "operation"],
    values: ({ container, pod }) =>
      (container.cgroup?.io ?? []).flatMap(({ device, readBytes, writeBytes }) => {
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
  onDisk("container_fs_usage_bytes", "Bytes that the container's writable layer takes.", ({ writable }) => BigInt(writable?.bytes ?? 0)),
  onDisk("container_fs_limit_bytes", "Size of the file system that the writable layer is on.", (_, { disk }) => disk.bytes),
  onDisk("container_fs_inodes_total", "Inodes of that file system.", (_, { disk }) => disk.inodes),
  onDisk("container_fs_inodes_free", "Free inodes of that file system.", (_, { disk }) => disk.inodesFree),
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
    values: ({ container }) => [{ labels: ["max_open_files"], value: container.processes.openFilesLimit }],
  },
  one(GAUGE, "container_start_time_seconds", "When it was started, in seconds since 1970.", ({ view }) =>
    seconds(view.record.status.startedAt),
  ),
  one(GAUGE, "container_last_seen", "When it was last measured, in seconds since 1970.", ({ cgroup }) => seconds(cgroup?.at)),
  one(GAUGE, "container_spec_cpu_period", "The CPU period in microseconds.", ({ view }) => BigInt(view.record.status.resources.cpuPeriod)),
  one(GAUGE, "container_spec_cpu_quota", "The CPU quota in microseconds a period.", ({ view }) =>
    positive(view.record.status.resources.cpuQuota),
  ),
  one(GAUGE, "container_spec_cpu_shares", "The CPU shares.", ({ view }) => BigInt(view.record.status.resources.cpuShares)),
  one(GAUGE, "container_spec_memory_limit_bytes", "The memory limit; 0 is none.", ({ cgroup }) => cgroup?.memory?.limit ?? 0n),
  one(GAUGE, "container_spec_memory_swap_limit_bytes", "The swap limit; 0 is none.", ({ cgroup }) => cgroup?.memory?.swapLimit ?? 0n),
  one(GAUGE, "container_spec_memory_reservation_limit_bytes", "The memory reservation; 0 is none.", () => 0n),
];

/** cAdvisor tells these by device; here all writable layers are on one file system. */
function onDisk(name: string, help: string, value: (sample: ContainerSample, pod: PodSample) => bigint): Definition<InPod> {
  return {
    name,
    help,
    type: GAUGE,
    labels: ["device"],
    values: ({ container, pod }) => [{ labels: [pod.deviceName(pod.disk.device)], value: value(container, pod) }],
  };
}

function positive(value: number): bigint | undefined {
  return value > 0 ? BigInt(value) : undefined;
}

function traffic(direction: "receive" | "transmit", counter: "bytes" | "packets" | "errors" | "dropped"): Definition<PodSample> {
  const side = (one: NetworkInterface) => (direction === "receive" ? one.rx : one.tx);
  const what = counter === "dropped" ? "packets_dropped" : counter;
  return {
    name: `container_network_${direction}_${what}_total`,
    help: `Network: ${what.replace("_", " ")} (${direction}).`,
    type: COUNTER,
    labels: ["interface"],
    values: ({ network }) => (network?.interfaces ?? []).map((one) => ({ labels: [one.name], value: side(one)[counter] })),
  };
}

const podMetrics: Definition<PodSample>[] = (["receive", "transmit"] as const).flatMap((direction) =>
  (["bytes", "packets", "errors", "dropped"] as const).map((counter) => traffic(direction, counter)),
);

export const metricDescriptors: runtime.v1.MetricDescriptor.$Properties[] = [...containerMetrics, ...podMetrics].map(
  ({ name, help, labels }) => ({
    name,
    help,
    labelKeys: [...usualLabels, ...labels],
  }),
);

export function fromPodSample(pod: PodSample): runtime.v1.PodSandboxMetrics.$Properties {
  const { config, id } = pod.pod;
  const at = pod.cgroup?.at ?? pod.network?.at ?? 0n;
  const labels = ["", pod.cgroupPath, "", id, config.namespace, config.name];
  return {
    podSandboxId: id,
    metrics: podMetrics.flatMap((metric) => measure(metric, pod, labels, at)),
    containerMetrics: pod.containers.map((container) => {
      const { record } = container.view;
      const { userSpecified, ref } = record.config.image;
      const image = userSpecified === "" ? ref : userSpecified;
      const own = [record.config.name, container.cgroupPath, image, record.id, config.namespace, config.name];
      return {
        containerId: record.id,
        metrics: containerMetrics.flatMap((metric) => measure(metric, { container, pod }, own, container.cgroup?.at ?? at)),
      };
    }),
  };
}

function measure<Sample>(metric: Definition<Sample>, sample: Sample, labels: string[], at: bigint): runtime.v1.Metric.$Properties[] {
  return metric
    .values(sample)
    .flatMap(({ labels: more = [], value }) =>
      value === undefined
        ? []
        : [{ name: metric.name, timestamp: at, metricType: metric.type, labelValues: [...labels, ...more], value: { value } }],
    );
}
