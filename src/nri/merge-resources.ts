import { type LinuxCpu, type LinuxMemory, type LinuxResources, v1 } from "./messages.ts";
import { Field, type Owners } from "./owners.ts";

/** A field and the number that its owner is kept under. */
type Fields<T> = readonly (readonly [keyof T, number])[];

const MEMORY: Fields<LinuxMemory> = [
  ["limit", Field.MemLimit],
  ["reservation", Field.MemReservation],
  ["swap", Field.MemSwapLimit],
  ["kernel", Field.MemKernelLimit],
  ["kernelTcp", Field.MemTCPLimit],
  ["swappiness", Field.MemSwappiness],
  ["disableOomKiller", Field.MemDisableOomKiller],
  ["useHierarchy", Field.MemUseHierarchy],
];

const CPU: Fields<LinuxCpu> = [
  ["shares", Field.CPUShares],
  ["quota", Field.CPUQuota],
  ["period", Field.CPUPeriod],
  ["realtimeRuntime", Field.CPURealtimeRuntime],
  ["realtimePeriod", Field.CPURealtimePeriod],
  ["cpus", Field.CPUSetCPUs],
  ["mems", Field.CPUSetMems],
];

/**
 * `base` with what the plugin sets; neither is changed. Claims every field that it sets.
 *
 * @throws failed-precondition when another plugin has set one of them; some may then be claimed
 */
export function mergeResources(
  base: LinuxResources,
  change: LinuxResources,
  owned: { owners: Owners; id: string; plugin: string },
): LinuxResources {
  const { owners, id, plugin } = owned;
  const merged = new v1.LinuxResources({ ...base });
  if (change.memory) merged.memory = mergeFields(MEMORY, new v1.LinuxMemory(base.memory ?? {}), change.memory, owned);
  if (change.cpu) merged.cpu = mergeFields(CPU, new v1.LinuxCPU(base.cpu ?? {}), change.cpu, owned);
  if (change.hugepageLimits.length > 0) {
    const sizes = new Set(change.hugepageLimits.map(({ pageSize }) => pageSize));
    for (const size of sizes) owners.claim(id, Field.HugepageLimits, plugin, size);
    merged.hugepageLimits = [...base.hugepageLimits.filter(({ pageSize }) => !sizes.has(pageSize)), ...change.hugepageLimits];
  }
  merged.unified = { ...base.unified };
  for (const [key, value] of Object.entries(change.unified)) {
    owners.claim(id, Field.CgroupsUnified, plugin, key);
    merged.unified[key] = value;
  }
  merged.devices = [...base.devices, ...change.devices];
  if (change.blockioClass) {
    owners.claim(id, Field.BlockioClass, plugin);
    merged.blockioClass = change.blockioClass;
  }
  if (change.rdtClass) {
    owners.claim(id, Field.RdtClass, plugin);
    merged.rdtClass = change.rdtClass;
  }
  if (change.pids) {
    owners.claim(id, Field.PidsLimit, plugin);
    merged.pids = change.pids;
  }
  return merged;
}

/** An absent message is a field that is not set, and so is an empty string. */
function mergeFields<T extends object>(fields: Fields<T>, merged: T, change: T, owned: { owners: Owners; id: string; plugin: string }): T {
  for (const [name, field] of fields) {
    const value = change[name];
    if (value === null || value === undefined || value === "") continue;
    owned.owners.claim(owned.id, field, owned.plugin);
    merged[name] = value;
  }
  return merged;
}
