/** Nanoseconds since the epoch, as the CRI gives times. 0n is "not yet". */
export type Nanos = bigint;

const originNanos = BigInt(Math.round(performance.timeOrigin * 1e6));

/** The wall clock now, in nanoseconds; steps of about a microsecond. Follows `Date.now()` when the clock is set. */
export function nowNanos(): Nanos {
  const monotonic = originNanos + BigInt(Math.round(performance.now() * 1e6));
  const wall = BigInt(Date.now()) * 1_000_000n;
  const drift = monotonic > wall ? monotonic - wall : wall - monotonic;
  return drift > 5_000_000n ? wall : monotonic;
}
