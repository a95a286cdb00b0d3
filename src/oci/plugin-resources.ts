import { emptyResources, type LinuxResources as PluginResources, v1 } from "../nri/messages.ts";
import type { LinuxResources } from "../records/pod-config.ts";
import type { SpecHost } from "./host.ts";
import type { OciDeviceRule, OciResources } from "./spec.ts";

/** 64-bit limits of the plugins' messages are within what a number holds exactly, but for "none". */
const optional = (value: number | undefined): { value: bigint } | null => (value === undefined ? null : { value: BigInt(value) });

/** A spec's limits as plugins see them. */
export function resourcesForPlugins(resources: OciResources): PluginResources {
  const { cpu, memory } = resources;
  const message = emptyResources();
  if (memory !== undefined) {
    message.memory = new v1.LinuxMemory({
      limit: optional(memory.limit),
      reservation: optional(memory.reservation),
      swap: optional(memory.swap),
      kernel: optional(memory.kernel),
      kernelTcp: optional(memory.kernelTCP),
      swappiness: optional(memory.swappiness),
      disableOomKiller: memory.disableOOMKiller === undefined ? null : { value: memory.disableOOMKiller },
      useHierarchy: memory.useHierarchy === undefined ? null : { value: memory.useHierarchy },
    });
  }
  if (cpu !== undefined) {
    message.cpu = new v1.LinuxCPU({
      shares: optional(cpu.shares),
      quota: optional(cpu.quota),
      period: optional(cpu.period),
      realtimeRuntime: optional(cpu.realtimeRuntime),
      realtimePeriod: optional(cpu.realtimePeriod),
      cpus: cpu.cpus ?? "",
      mems: cpu.mems ?? "",
    });
  }
  message.hugepageLimits = (resources.hugepageLimits ?? []).map(
    ({ pageSize, limit }) => new v1.HugepageLimit({ pageSize, limit: BigInt(limit) }),
  );
  message.unified = { ...resources.unified };
  message.devices = (resources.devices ?? []).map(
    ({ allow, type, major, minor, access }) =>
      new v1.LinuxDeviceCgroup({ allow, type: type ?? "", major: optional(major), minor: optional(minor), access }),
  );
  if (resources.pids !== undefined) message.pids = new v1.LinuxPids({ limit: BigInt(resources.pids.limit) });
  return message;
}

/** The CRI's limits as plugins see them: what it leaves unset is absent. */
export function criResourcesForPlugins(resources: LinuxResources): PluginResources {
  return resourcesForPlugins({
    cpu: {
      ...(resources.cpuShares !== 0 && { shares: resources.cpuShares }),
      ...(resources.cpuQuota !== 0 && { quota: resources.cpuQuota }),
      ...(resources.cpuPeriod !== 0 && { period: resources.cpuPeriod }),
      cpus: resources.cpusetCpus,
      mems: resources.cpusetMems,
    },
    memory: {
      ...(resources.memoryLimitBytes !== 0 && { limit: resources.memoryLimitBytes }),
      ...(resources.memorySwapLimitBytes !== 0 && { swap: resources.memorySwapLimitBytes }),
    },
    hugepageLimits: resources.hugepageLimits,
    unified: resources.unified,
  });
}

/** What of the plugins' limits the CRI can say, for a container's status. */
export function criResourcesOf(resources: PluginResources): LinuxResources {
  const { cpu, memory } = resources;
  const number = (value: { value: bigint } | null | undefined): number => Number(value?.value ?? 0n);
  return {
    cpuPeriod: number(cpu?.period),
    cpuQuota: number(cpu?.quota),
    cpuShares: number(cpu?.shares),
    memoryLimitBytes: number(memory?.limit),
    memorySwapLimitBytes: number(memory?.swap),
    oomScoreAdj: 0,
    cpusetCpus: cpu?.cpus ?? "",
    cpusetMems: cpu?.mems ?? "",
    hugepageLimits: resources.hugepageLimits.map(({ pageSize, limit }) => ({ pageSize, limit: Number(limit) })),
    unified: resources.unified,
  };
}

/**
 * The limits that plugins set, as a spec has them, or the body of the shim's Update; what they leave out is left out. A memory limit without
 * one for swap limits memory and swap together, as everywhere (resources.ts). Block I/O and RDT classes are names: see `adjustSpec`.
 */
export function ociResourcesOf(resources: PluginResources, host: Pick<SpecHost, "swapController" | "hugetlbController">): OciResources {
  const { cpu, memory, pids } = resources;
  const swap = memory?.swap ?? (memory?.limit && host.swapController ? memory.limit : undefined);
  const ociCpu = {
    ...numberOf("shares", cpu?.shares),
    ...numberOf("quota", cpu?.quota),
    ...numberOf("period", cpu?.period),
    ...numberOf("realtimeRuntime", cpu?.realtimeRuntime),
    ...numberOf("realtimePeriod", cpu?.realtimePeriod),
    ...(cpu?.cpus && { cpus: cpu.cpus }),
    ...(cpu?.mems && { mems: cpu.mems }),
  };
  const ociMemory = {
    ...numberOf("limit", memory?.limit),
    ...numberOf("reservation", memory?.reservation),
    ...numberOf("swap", swap),
    ...numberOf("kernel", memory?.kernel),
    ...numberOf("kernelTCP", memory?.kernelTcp),
    ...numberOf("swappiness", memory?.swappiness),
    ...(memory?.disableOomKiller && { disableOOMKiller: memory.disableOomKiller.value }),
    ...(memory?.useHierarchy && { useHierarchy: memory.useHierarchy.value }),
  };
  const hugepages = host.hugetlbController ? resources.hugepageLimits : [];
  return {
    ...(Object.keys(ociCpu).length > 0 && { cpu: ociCpu }),
    ...(Object.keys(ociMemory).length > 0 && { memory: ociMemory }),
    ...(hugepages.length > 0 && { hugepageLimits: hugepages.map(({ pageSize, limit }) => ({ pageSize, limit: Number(limit) })) }),
    ...(Object.keys(resources.unified).length > 0 && { unified: resources.unified }),
    ...(pids && { pids: { limit: Number(pids.limit) } }),
    ...(resources.devices.length > 0 && { devices: resources.devices.map(toRule) }),
  };
}

/** `current` with the changes laid over it: lists of devices grow, everything else is replaced field by field. */
export function overlayResources(current: OciResources, changes: OciResources): OciResources {
  const { devices, hugepageLimits } = changes;
  const sizes = new Set(hugepageLimits?.map(({ pageSize }) => pageSize));
  return {
    ...current,
    ...changes,
    ...(changes.cpu !== undefined && { cpu: { ...current.cpu, ...changes.cpu } }),
    ...(changes.memory !== undefined && { memory: { ...current.memory, ...changes.memory } }),
    ...(changes.unified !== undefined && { unified: { ...current.unified, ...changes.unified } }),
    ...(devices !== undefined && { devices: [...(current.devices ?? []), ...devices] }),
    ...(hugepageLimits !== undefined && {
      hugepageLimits: [...(current.hugepageLimits ?? []).filter(({ pageSize }) => !sizes.has(pageSize)), ...hugepageLimits],
    }),
  };
}

function numberOf<N extends string>(name: N, value: { value: bigint } | null | undefined): { [K in N]?: number } {
  return (value ? { [name]: Number(value.value) } : {}) as { [K in N]?: number };
}

function toRule({ allow, type, major, minor, access }: PluginResources["devices"][number]): OciDeviceRule {
  return {
    allow,
    ...(type === "a" || type === "b" || type === "c" ? { type } : {}),
    ...numberOf("major", major),
    ...numberOf("minor", minor),
    access,
  };
}
