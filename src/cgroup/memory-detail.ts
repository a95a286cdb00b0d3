import { parseFlatKeyed, parseNumber } from "./parse.ts";
import type { ReadFile } from "./stats.ts";

/** Memory numbers that only the cAdvisor-like metrics ask for. Bytes; absent where this kernel does not count it. */
export interface MemoryDetail {
  /** Page cache. */
  cache?: bigint;
  /** Of the page cache, what was used lately, and what the kernel takes first when memory runs short. */
  activeFile?: bigint;
  inactiveFile?: bigint;
  /** Of the page cache, what is mapped into processes. */
  mappedFile?: bigint;
  /** The kernel's own memory on behalf of the cgroup. */
  kernel?: bigint;
  /** The most that was ever used. */
  peak?: bigint;
  /** How often the limit was hit. */
  limitHits?: bigint;
  /** v2 alone: how often it was throttled for being over memory.high. */
  highHits?: bigint;
  /** v2 alone: page cache that is to be written, and that is being written. Bytes. */
  dirty?: bigint;
  writeback?: bigint;
  /** v2 alone: pages that reclaim looked at and took, and pages that were needed again soon after. */
  scanned?: bigint;
  stolen?: bigint;
  refaultedFile?: bigint;
  refaultedAnon?: bigint;
}

/** How the files of each version say it. */
export const memoryDetail: Record<1 | 2, (read: ReadFile) => Promise<MemoryDetail>> = {
  async 1(read) {
    const files = ["memory.stat", "memory.kmem.usage_in_bytes", "memory.max_usage_in_bytes", "memory.failcnt"].map(read);
    const [statText, kernel, peak, hits] = await Promise.all(files);
    const stat = parseFlatKeyed(statText ?? "");
    const total = (key: string): bigint | undefined => stat.get(`total_${key}`) ?? stat.get(key);
    return present({
      cache: total("cache"),
      activeFile: total("active_file"),
      inactiveFile: total("inactive_file"),
      mappedFile: total("mapped_file"),
      kernel: parseNumber(kernel),
      peak: parseNumber(peak),
      limitHits: parseNumber(hits),
    });
  },

  async 2(read) {
    const [statText, peak, eventsText] = await Promise.all(["memory.stat", "memory.peak", "memory.events"].map(read));
    const stat = parseFlatKeyed(statText ?? "");
    const events = parseFlatKeyed(eventsText ?? "");
    return present({
      cache: stat.get("file"),
      activeFile: stat.get("active_file"),
      inactiveFile: stat.get("inactive_file"),
      mappedFile: stat.get("file_mapped"),
      kernel: stat.get("kernel") ?? stat.get("kernel_stack"),
      peak: parseNumber(peak),
      limitHits: events.get("max"),
      highHits: events.get("high"),
      dirty: stat.get("file_dirty"),
      writeback: stat.get("file_writeback"),
      scanned: stat.get("pgscan"),
      stolen: stat.get("pgsteal"),
      refaultedFile: stat.get("workingset_refault_file"),
      refaultedAnon: stat.get("workingset_refault_anon"),
    });
  },
};

function present(values: { [Key in keyof MemoryDetail]: MemoryDetail[Key] | undefined }): MemoryDetail {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
