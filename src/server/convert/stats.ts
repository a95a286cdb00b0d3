import type { runtime } from "../../../api/cri/runtime/v1/api.js";
import type { CgroupStats, Pressure, PressureLine } from "../../cgroup/stats.ts";
import type { NetworkInterface } from "../../sandbox/stats/net-dev.ts";
import type { ContainerStats, PodStats } from "../../sandbox/stats/stats.ts";
import { fromPodMetadata } from "./sandbox.ts";

/** The interface that the kubelet takes for the pod's own. */
const defaultInterface = "eth0";

const wrapped = (value: bigint | undefined) => (value === undefined ? null : { value });

/** @param mountpoint of the file system that writable layers are on */
export function fromContainerStats(stats: ContainerStats, mountpoint: string): runtime.v1.ContainerStats.$Properties {
  const { view, cgroup, nanoCores, writable } = stats;
  const { id, config } = view.record;
  return {
    attributes: {
      id,
      metadata: { name: config.name, attempt: config.attempt },
      labels: config.labels,
      annotations: config.annotations,
    },
    ...(cgroup && { cpu: fromCpu(cgroup, nanoCores), memory: fromMemory(cgroup), swap: fromSwap(cgroup), io: fromIo(cgroup) }),
    ...(writable && {
      writableLayer: {
        timestamp: writable.at,
        fsId: { mountpoint },
        usedBytes: { value: BigInt(writable.bytes) },
        inodesUsed: { value: BigInt(writable.inodes) },
      },
    }),
  };
}

export function fromPodStats(stats: PodStats, mountpoint: string): runtime.v1.PodSandboxStats.$Properties {
  const { pod, cgroup, nanoCores, network, containers } = stats;
  return {
    attributes: {
      id: pod.id,
      metadata: fromPodMetadata(pod.config),
      labels: pod.config.labels,
      annotations: pod.config.annotations,
    },
    linux: {
      ...(cgroup && { cpu: fromCpu(cgroup, nanoCores), memory: fromMemory(cgroup), io: fromIo(cgroup) }),
      ...(cgroup?.pids && { process: { timestamp: cgroup.at, processCount: { value: cgroup.pids.current } } }),
      ...(network && { network: fromNetwork(network) }),
      containers: containers.map((container) => fromContainerStats(container, mountpoint)),
    },
  };
}

function fromCpu(cgroup: CgroupStats, nanoCores: bigint | undefined): runtime.v1.CpuUsage.$Properties | null {
  if (cgroup.cpu === undefined) return null;
  return {
    timestamp: cgroup.at,
    usageCoreNanoSeconds: { value: cgroup.cpu.usageNanos },
    usageNanoCores: wrapped(nanoCores),
    psi: fromPressure(cgroup.psi?.cpu),
  };
}

function fromMemory(cgroup: CgroupStats): runtime.v1.MemoryUsage.$Properties | null {
  const { memory } = cgroup;
  if (memory === undefined) return null;
  return {
    timestamp: cgroup.at,
    workingSetBytes: { value: memory.workingSet },
    availableBytes: wrapped(memory.available),
    usageBytes: { value: memory.usage },
    rssBytes: { value: memory.rss },
    pageFaults: { value: memory.pageFaults },
    majorPageFaults: { value: memory.majorPageFaults },
    psi: fromPressure(cgroup.psi?.memory),
  };
}

function fromSwap(cgroup: CgroupStats): runtime.v1.SwapUsage.$Properties | null {
  const { memory } = cgroup;
  if (memory?.swapUsage === undefined) return null;
  return { timestamp: cgroup.at, swapUsageBytes: { value: memory.swapUsage }, swapAvailableBytes: wrapped(memory.swapAvailable) };
}

function fromIo(cgroup: CgroupStats): runtime.v1.IoUsage.$Properties | null {
  const psi = fromPressure(cgroup.psi?.io);
  return psi === null ? null : { timestamp: cgroup.at, psi };
}

function fromPressure(pressure: Pressure | undefined): runtime.v1.PsiStats.$Properties | null {
  if (pressure === undefined) return null;
  return { Some: fromPressureLine(pressure.some), ...(pressure.full && { Full: fromPressureLine(pressure.full) }) };
}

/** The CRI's total is in nanoseconds, as the kubelet's summary has it; the kernel counts microseconds. */
function fromPressureLine(line: PressureLine): runtime.v1.PsiData.$Properties {
  return { Total: line.totalMicros * 1000n, Avg10: line.avg10, Avg60: line.avg60, Avg300: line.avg300 };
}

function fromNetwork(network: { at: bigint; interfaces: readonly NetworkInterface[] }): runtime.v1.NetworkUsage.$Properties {
  const usages = network.interfaces.map(({ name, rx, tx }) => ({
    name,
    rxBytes: { value: rx.bytes },
    rxErrors: { value: rx.errors },
    txBytes: { value: tx.bytes },
    txErrors: { value: tx.errors },
  }));
  const own = usages.find(({ name }) => name === defaultInterface);
  return { timestamp: network.at, ...(own && { defaultInterface: own }), interfaces: usages.filter((usage) => usage !== own) };
}
