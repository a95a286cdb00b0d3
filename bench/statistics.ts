/** What a sample spans, its median and its 90th percentile (nearest rank). */
export interface Summary {
  median: number;
  p90: number;
  min: number;
  max: number;
  count: number;
}

export function summarise(sample: readonly number[]): Summary {
  const sorted = sample.toSorted((a, b) => a - b);
  return {
    median: percentile(sorted, 0.5),
    p90: percentile(sorted, 0.9),
    min: sorted[0] ?? Number.NaN,
    max: sorted.at(-1) ?? Number.NaN,
    count: sorted.length,
  };
}

function percentile(sorted: readonly number[], share: number): number {
  const at = Math.max(0, Math.ceil(sorted.length * share) - 1);
  const value = sorted[at];
  if (value === undefined) return Number.NaN;
  // An even sample's median lies between its two middle values.
  if (share === 0.5 && sorted.length % 2 === 0) return (value + (sorted[at + 1] ?? value)) / 2;
  return value;
}
