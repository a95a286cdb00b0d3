import { keyOf, leavesOf, parseSeries, type Series } from "./series.ts";

/** What one runtime showed. */
export interface Shown {
  /** The kubelet's /metrics/cadvisor. */
  cadvisor: string;
  /** The kubelet's /metrics/resource. */
  resource: string;
  /** The kubelet's /stats/summary. */
  summary: string;
}

/** A difference that has a reason, told in docs/stats.md. */
export interface Explained {
  /** Matches the difference as it is printed. */
  difference: RegExp;
  reason: string;
}

/** Values that are what the pod's spec says, so that they are equal or wrong. */
const fromSpec = /^container_spec_/;
/** Values that are never zero on one runtime and above it on the other: what a test pod does uses them all the time, or never. */
const steady =
  /^container_(cpu_(usage|user|system)_seconds_total|memory_(usage|working_set)_bytes|memory_rss|network_\w+_(bytes|packets)_total|processes|threads|file_descriptors|start_time_seconds|creation_time_seconds|swap_limit_bytes)\b|usageCoreNanoSeconds|(usage|workingSet|rss|available|capacity|used|rx|tx|swapAvailable)Bytes$|process_count/;

/**
 * The differences, sorted, a line each: `missing` is what only the first runtime shows, `added` what only the second does, `value` what both show, but
 * one as zero and the other not (of what is not chance), or with another limit.
 */
export function differences(first: Shown, second: Shown): string[] {
  return [
    ...compare("cadvisor", seriesOf(first.cadvisor), seriesOf(second.cadvisor)),
    ...compare("resource", seriesOf(first.resource), seriesOf(second.resource)),
    ...compare("summary", leavesOf(JSON.parse(first.summary)), leavesOf(JSON.parse(second.summary))),
  ].sort();
}

function seriesOf(text: string): Map<string, unknown> {
  return new Map(parseSeries(text).map((series: Series) => [keyOf(series), series.value]));
}

function compare(where: string, first: Map<string, unknown>, second: Map<string, unknown>): string[] {
  const found: string[] = [];
  for (const [key, value] of first) {
    if (!second.has(key)) found.push(`missing ${where} ${key} = ${value}`);
    else {
      const other = second.get(key);
      const differs = fromSpec.test(key) ? value !== other : steady.test(key) && isZero(value) !== isZero(other);
      if (differs) found.push(`value ${where} ${key} = ${value}, ${other}`);
    }
  }
  for (const [key, value] of second) if (!first.has(key)) found.push(`added ${where} ${key} = ${value}`);
  return found;
}

function isZero(value: unknown): boolean {
  return value === 0;
}

/** Sorts differences into those with a reason and those without. */
export function judge(
  found: readonly string[],
  explained: readonly Explained[],
): { byReason: Map<string, string[]>; unexplained: string[]; unused: string[] } {
  const byReason = new Map<string, string[]>();
  const unexplained: string[] = [];
  for (const line of found) {
    const entry = explained.find(({ difference }) => difference.test(line));
    if (entry === undefined) unexplained.push(line);
    else byReason.set(entry.reason, [...(byReason.get(entry.reason) ?? []), line]);
  }
  return { byReason, unexplained, unused: explained.map(({ reason }) => reason).filter((reason) => !byReason.has(reason)) };
}
