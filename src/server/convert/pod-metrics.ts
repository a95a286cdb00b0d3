import type { runtime } from "../../../api/cri/runtime/v1/api.js";
import type { NetworkInterface } from "../../sandbox/stats/net-dev.ts";
import type { ContainerSample, PodSample } from "../../sandbox/stats/stats.ts";
import { cgroupMetrics } from "./cgroup-metrics.ts";
import { COUNTER, type Definition, GAUGE, type Measured, type OfContainer } from "./metric-definition.ts";

/** The labels that cAdvisor gives to what the kubelet serves, so that dashboards made for it go on working. */
const usualLabels = ["container", "id", "image", "name", "namespace", "pod"];

const diskMetrics: readonly Definition<OfContainer>[] = [
  onDisk("container_fs_usage_bytes", "Bytes that the container's writable layer takes.", ({ writable }) => BigInt(writable?.bytes ?? 0)),
  onDisk("container_fs_limit_bytes", "Size of the file system that the writable layer is on.", (_, { disk }) => disk.bytes),
  onDisk("container_fs_inodes_total", "Inodes of that file system.", (_, { disk }) => disk.inodes),
  onDisk("container_fs_inodes_free", "Free inodes of that file system.", (_, { disk }) => disk.inodesFree),
];

/** cAdvisor tells these by device; here all writable layers are on one file system. */
function onDisk(name: string, help: string, value: (sample: ContainerSample, pod: PodSample) => bigint): Definition<OfContainer> {
  return {
    name,
    help,
    type: GAUGE,
    labels: ["device"],
    values: ({ sample, pod }) => [{ labels: [pod.deviceName(pod.disk.device)], value: value(sample, pod) }],
  };
}

const networkMetrics: readonly Definition<PodSample>[] = (["receive", "transmit"] as const).flatMap((direction) =>
  (["bytes", "packets", "errors", "dropped"] as const).map((counter) => traffic(direction, counter)),
);

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

export const metricDescriptors: runtime.v1.MetricDescriptor.$Properties[] = [...cgroupMetrics, ...diskMetrics, ...networkMetrics].map(
  ({ name, help, labels }) => ({ name, help, labelKeys: [...usualLabels, ...labels] }),
);

/**
 * The three kinds of series that dashboards tell apart by their labels, as cAdvisor makes them of containerd: a container has all labels;
 * the pause has an image, but no container, and the pod's network; the pod's own cgroup has neither name nor image.
 */
export function fromPodSample(pod: PodSample): runtime.v1.PodSandboxMetrics.$Properties {
  const { config, id, createdAt } = pod.pod;
  const at = pod.cgroup?.at ?? pod.network?.at ?? 0n;
  const times = { createdAt, startedAt: createdAt };
  const ofPod = (cgroup: string, image: string, name: string): string[] => ["", cgroup, image, name, config.namespace, config.name];
  const pauseLabels = ofPod(pod.pause.cgroupPath, pod.pauseImage, id);
  const { own } = pod;
  return {
    podSandboxId: id,
    metrics: [
      ...(own === undefined ? [] : measureAll(cgroupMetrics, { sample: { ...own, ...times }, pod }, ofPod(own.cgroupPath, "", ""), at)),
      ...measureAll(cgroupMetrics, { sample: { ...pod.pause, ...times }, pod }, pauseLabels, pod.pause.cgroup?.at ?? at),
      ...measureAll(networkMetrics, pod, pauseLabels, pod.network?.at ?? at),
    ],
    containerMetrics: pod.containers.map((container) => fromContainerSample(container, pod, at)),
  };
}

function fromContainerSample(container: ContainerSample, pod: PodSample, at: bigint): runtime.v1.ContainerMetrics.$Properties {
  const { record } = container.view;
  const { config } = pod.pod;
  const { userSpecified, ref } = record.config.image;
  const image = userSpecified === "" ? ref : userSpecified;
  const labels = [record.config.name, container.cgroupPath, image, record.id, config.namespace, config.name];
  const sample: Measured & ContainerSample = { ...container, createdAt: record.status.createdAt, startedAt: record.status.startedAt };
  const read = container.cgroup?.at ?? at;
  return {
    containerId: record.id,
    metrics: [...measureAll(cgroupMetrics, { sample, pod }, labels, read), ...measureAll(diskMetrics, { sample, pod }, labels, read)],
  };
}

function measureAll<Sample>(
  metrics: readonly Definition<Sample>[],
  sample: Sample,
  labels: readonly string[],
  at: bigint,
): runtime.v1.Metric.$Properties[] {
  return metrics.flatMap(({ name, type, values }) =>
    values(sample).flatMap(({ labels: more = [], value }) =>
      value === undefined ? [] : [{ name, timestamp: at, metricType: type, labelValues: [...labels, ...more], value: { value } }],
    ),
  );
}
