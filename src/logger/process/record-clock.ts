const SECOND = 1_000_000_000;
const FRACTION_AT = 20;
const FRACTION_END = 29;
const ZERO = 48;
const NINE = 57;

/**
 * The times of one container's records, written as RFC3339 with nine digits, in UTC. No two records of a container carry the
 * same time and none goes back: lines that were read together are a nanosecond apart, since log shippers (Loki) take
 * equal lines with equal times for duplicates, and sort by time. If the machine's clock is set back by more than a second, the
 * times follow it.
 */
export class RecordClock {
  readonly #wall: () => { seconds: number; nanos: number };
  #seconds = 0;
  #nanos = 0;
  #prefixSeconds = -1;
  #prefix = new Uint8Array(FRACTION_AT);

  constructor(wall: () => { seconds: number; nanos: number } = wallClock) {
    this.#wall = wall;
  }

  /** Writes the time for the next record into the first 30 bytes of `header`. Call before the records of a chunk. */
  begin(header: Uint8Array): void {
    const { seconds, nanos } = this.#wall();
    const ahead = (this.#seconds - seconds) * SECOND + this.#nanos - nanos;
    if (ahead < 0 || ahead > SECOND) {
      this.#seconds = seconds;
      this.#nanos = nanos;
    }
    this.#write(header);
  }

  /** Moves the time in `header` to the next record's. */
  next(header: Uint8Array): void {
    this.#nanos++;
    if (this.#nanos === SECOND) {
      this.#seconds++;
      this.#nanos = 0;
      this.#write(header);
      return;
    }
    let at = FRACTION_END - 1;
    while (header[at] === NINE) header[at--] = ZERO;
    header[at] = (header[at] as number) + 1;
  }

  #write(header: Uint8Array): void {
    if (this.#seconds !== this.#prefixSeconds) {
      // toISOString of a year between 0 and 9999 is `2026-11-24T23:16:00.000Z`.
      this.#prefix = new Uint8Array(Buffer.from(new Date(this.#seconds * 1000).toISOString().slice(0, FRACTION_AT), "latin1"));
      this.#prefixSeconds = this.#seconds;
    }
    header.set(this.#prefix, 0);
    let rest = this.#nanos;
    for (let at = FRACTION_END - 1; at >= FRACTION_AT; at--) {
      header[at] = ZERO + (rest % 10);
      rest = Math.floor(rest / 10);
    }
  }
}

/** The wall clock in steps of about a microsecond: Date.now() has only milliseconds. */
function wallClock(): { seconds: number; nanos: number } {
  const fine = performance.timeOrigin + performance.now();
  const wall = Date.now();
  // performance.now() does not follow a clock that is set; Date.now() does.
  const ms = Math.abs(fine - wall) > 5 ? wall : fine;
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanos: Math.min(Math.floor((ms - seconds * 1000) * 1e6), SECOND - 1) };
}
