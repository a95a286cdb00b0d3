import { parseBlkio, parseFlatKeyed, parseNumber } from "./parse.ts";
import { less, memoryStats, type StatsReader } from "./stats.ts";

/** "No limit" in v1 is the largest multiple of a page; anything near it means the same. */
const noLimit = 1n << 62n;

function limitOf(text: string | undefined): bigint | undefined {
  const limit = parseNumber(text);
  return limit === undefined || limit >= noLimit ? undefined : limit;
}

/** The files of cgroup v1 (Documentation/admin-guide/cgroup-v1/). */
export const statsV1: StatsReader = {
  async cpu(read) {
    const files = ["cpuacct.usage", "cpuacct.usage_user", "cpuacct.usage_sys", "cpu.stat"].map(read);
    const [usage, user, system, stat] = await Promise.all(files);
    const usageNanos = parseNumber(usage);
    if (usageNanos === undefined) return undefined;
    const values = parseFlatKeyed(stat ?? "");
    return {
      usageNanos,
      userNanos: parseNumber(user) ?? 0n,
      systemNanos: parseNumber(system) ?? 0n,
      periods: values.get("nr_periods") ?? 0n,
      throttledPeriods: values.get("nr_throttled") ?? 0n,
      throttledNanos: values.get("throttled_time") ?? 0n,
      burstPeriods: values.get("nr_bursts") ?? 0n,
      burstNanos: values.get("burst_time") ?? 0n,
    };
  },

  async memory(read) {
    const files = [
      "memory.usage_in_bytes",
      "memory.stat",
      "memory.limit_in_bytes",
      "memory.memsw.usage_in_bytes",
      "memory.memsw.limit_in_bytes",
    ].map(read);
    const [usageText, stat, max, memswUsage, memswMax] = await Promise.all(files);
    const usage = parseNumber(usageText);
    if (usage === undefined) return undefined;
    const values = parseFlatKeyed(stat ?? "");
    const total = (key: string): bigint => values.get(`total_${key}`) ?? values.get(key) ?? 0n;
    const limit = limitOf(max);
    // memsw counts memory and swap together, in its usage and in its limit.
    const both = parseNumber(memswUsage);
    const bothLimit = limitOf(memswMax);
    return memoryStats({
      usage,
      inactiveFile: total("inactive_file"),
      rss: total("rss"),
      pageFaults: total("pgfault"),
      majorPageFaults: total("pgmajfault"),
      limit,
      swapUsage: both === undefined ? undefined : less(both, usage),
      swapLimit: limit === undefined || bothLimit === undefined ? undefined : less(bothLimit, limit),
    });
  },

  async io(read) {
    const files = ["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"].map(read);
    const [bytesText, countText] = await Promise.all(files);
    if (bytesText === undefined) return undefined;
    const counts = parseBlkio(countText ?? "");
    return [...parseBlkio(bytesText)].map(([device, bytes]) => ({
      device,
      readBytes: bytes.get("Read") ?? 0n,
      writeBytes: bytes.get("Write") ?? 0n,
      reads: counts.get(device)?.get("Read") ?? 0n,
      writes: counts.get(device)?.get("Write") ?? 0n,
    }));
  },

  async hugetlb(read, pageSize) {
    const [usageText, limitText] = await Promise.all([
      read(`hugetlb.${pageSize}.usage_in_bytes`),
      read(`hugetlb.${pageSize}.limit_in_bytes`),
    ]);
    const usage = parseNumber(usageText);
    const limit = limitOf(limitText);
    return usage === undefined ? undefined : { pageSize, usage, ...(limit !== undefined && { limit }) };
  },

  /** Since kernel 4.13. */
  async oomKills(read) {
    const text = await read("memory.oom_control");
    return text === undefined ? undefined : Number(parseFlatKeyed(text).get("oom_kill") ?? 0n);
  },
};
