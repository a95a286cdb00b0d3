import { parseFlatKeyed, parseNestedKeyed, parseNumber } from "./parse.ts";
import { memoryStats, type StatsReader } from "./stats.ts";

/** The files of cgroup v2 (Documentation/admin-guide/cgroup-v2.rst). */
export const statsV2: StatsReader = {
  async cpu(read) {
    const text = await read("cpu.stat");
    if (text === undefined) return undefined;
    const stat = parseFlatKeyed(text);
    const nanos = (key: string): bigint => (stat.get(key) ?? 0n) * 1000n;
    return {
      usageNanos: nanos("usage_usec"),
      userNanos: nanos("user_usec"),
      systemNanos: nanos("system_usec"),
      periods: stat.get("nr_periods") ?? 0n,
      throttledPeriods: stat.get("nr_throttled") ?? 0n,
      throttledNanos: nanos("throttled_usec"),
      burstPeriods: stat.get("nr_bursts") ?? 0n,
      burstNanos: nanos("burst_usec"),
    };
  },

  async memory(read) {
    const files = ["memory.current", "memory.stat", "memory.max", "memory.swap.current", "memory.swap.max"].map(read);
    const [current, stat, max, swapCurrent, swapMax] = await Promise.all(files);
    const values = parseFlatKeyed(stat ?? "");
    // The root cgroup has no memory.current: the sum of anonymous memory and page cache stands for it, as in cAdvisor.
    const usage = parseNumber(current) ?? (stat === undefined ? undefined : (values.get("anon") ?? 0n) + (values.get("file") ?? 0n));
    if (usage === undefined) return undefined;
    return memoryStats({
      usage,
      inactiveFile: values.get("inactive_file") ?? 0n,
      rss: values.get("anon") ?? 0n,
      pageFaults: values.get("pgfault") ?? 0n,
      majorPageFaults: values.get("pgmajfault") ?? 0n,
      limit: parseNumber(max),
      swapUsage: parseNumber(swapCurrent),
      swapLimit: parseNumber(swapMax),
    });
  },

  async io(read) {
    const text = await read("io.stat");
    if (text === undefined) return undefined;
    return [...parseNestedKeyed(text)].map(([device, values]) => ({
      device,
      readBytes: values.get("rbytes") ?? 0n,
      writeBytes: values.get("wbytes") ?? 0n,
      reads: values.get("rios") ?? 0n,
      writes: values.get("wios") ?? 0n,
    }));
  },

  async hugetlb(read, pageSize) {
    const [current, max] = await Promise.all([read(`hugetlb.${pageSize}.current`), read(`hugetlb.${pageSize}.max`)]);
    const usage = parseNumber(current);
    const limit = parseNumber(max);
    return usage === undefined ? undefined : { pageSize, usage, ...(limit !== undefined && { limit }) };
  },

  async oomKills(read) {
    const text = await read("memory.events");
    return text === undefined ? undefined : Number(parseFlatKeyed(text).get("oom_kill") ?? 0n);
  },
};
