import type { CgroupStats } from "../../cgroup/stats.ts";

/** What several cgroups have used together. Limits and pressure don't add up and are left out. */
export function sumOf(all: readonly (CgroupStats | undefined)[]): CgroupStats | undefined {
  const [first, ...rest] = all.filter((stats) => stats !== undefined).map(withoutLimits);
  return first === undefined ? undefined : rest.reduce(add, first);
}

function add(left: CgroupStats, right: CgroupStats): CgroupStats {
  // biome-ignore lint/complexity/useMathMinMax: Math.max takes no bigint
  const sum: CgroupStats = { at: left.at > right.at ? left.at : right.at };
  if (left.cpu !== undefined && right.cpu !== undefined) sum.cpu = addNumbers(left.cpu, right.cpu);
  if (left.memory !== undefined && right.memory !== undefined) sum.memory = addNumbers(left.memory, right.memory);
  if (left.pids !== undefined && right.pids !== undefined) sum.pids = { current: left.pids.current + right.pids.current };
  return sum;
}

function withoutLimits({ at, cpu, memory, pids }: CgroupStats): CgroupStats {
  const result: CgroupStats = { at, ...(cpu && { cpu }) };
  if (memory !== undefined) {
    const { usage, workingSet, rss, pageFaults, majorPageFaults } = memory;
    result.memory = { usage, workingSet, rss, pageFaults, majorPageFaults };
  }
  if (pids !== undefined) result.pids = { current: pids.current };
  return result;
}

/** Adds the fields that both have. */
function addNumbers<Numbers extends object>(left: Numbers, right: Numbers): Numbers {
  const sum = { ...left };
  for (const key of Object.keys(left) as (keyof Numbers)[]) {
    const [a, b] = [left[key], right[key]];
    if (typeof a === "bigint" && typeof b === "bigint") sum[key] = (a + b) as Numbers[keyof Numbers];
  }
  return sum;
}
