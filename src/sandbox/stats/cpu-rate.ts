import type { Nanos } from "../../base/time.ts";

interface Sample {
  at: Nanos;
  usage: bigint;
  rate: bigint | undefined;
}

/** A rate over less time than this is noise. */
const shortestWindow = 1_000_000_000n;

/**
 * Nanoseconds of CPU a second, from one reading to the next: whoever asks at an interval gets the rate over that interval, and
 * nothing is read in between.
 */
export class CpuRate {
  readonly #samples = new WeakMap<object, Sample>();

  /**
   * Takes a reading and answers the rate since an earlier one; undefined at the first.
   *
   * @param of stands for the thing that is measured; forgotten with it
   * @param usage nanoseconds of CPU since it began
   */
  observe(of: object, at: Nanos, usage: bigint): bigint | undefined {
    const before = this.#samples.get(of);
    if (before !== undefined && at - before.at < shortestWindow) return before.rate;
    const went = before === undefined || usage < before.usage ? undefined : ((usage - before.usage) * 1_000_000_000n) / (at - before.at);
    this.#samples.set(of, { at, usage, rate: went });
    return went;
  }
}
