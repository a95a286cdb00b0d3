import { messageOf } from "../../base/errors.ts";
import type { Logger } from "../../base/log.ts";
import { type Nanos, nowNanos } from "../../base/time.ts";

export interface DiskSample {
  at: Nanos;
  bytes: number;
  inodes: number;
}

interface Entry {
  sample: DiskSample | undefined;
  refreshing: Promise<void> | undefined;
}

/** Walking a tree costs much more than looking at a number, and it changes slowly. */
const maxAgeNanos = 10_000_000_000n;
/** How long a first answer is waited for; a tree of a million files takes longer. */
const firstWaitMs = 500;

/**
 * What containers have written, by key, at most some seconds old. One walk of a tree at a time; while it goes on, the last value is
 * answered, with its own time.
 */
export class DiskSamples {
  readonly #entries = new Map<string, Entry>();
  readonly #measure: (key: string) => Promise<{ bytes: number; inodes: number }>;
  readonly #log: Logger;

  constructor(options: { measure: (key: string) => Promise<{ bytes: number; inodes: number }>; log: Logger }) {
    this.#measure = options.measure;
    this.#log = options.log;
  }

  /** undefined when nothing is known yet. */
  async get(key: string): Promise<DiskSample | undefined> {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { sample: undefined, refreshing: undefined };
      this.#entries.set(key, entry);
    }
    const { sample } = entry;
    if (sample !== undefined && nowNanos() - sample.at < maxAgeNanos) return sample;
    entry.refreshing ??= this.#refresh(key, entry);
    if (sample === undefined) await atMost(firstWaitMs, entry.refreshing);
    return entry.sample;
  }

  /** Forgets all keys but these. */
  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#entries.keys()) if (!keys.has(key)) this.#entries.delete(key);
  }

  async #refresh(key: string, entry: Entry): Promise<void> {
    try {
      const { bytes, inodes } = await this.#measure(key);
      entry.sample = { at: nowNanos(), bytes, inodes };
    } catch (error) {
      this.#log.debug({ container: key, error: messageOf(error) }, "the size of a writable layer is unknown");
    } finally {
      entry.refreshing = undefined;
    }
  }
}

async function atMost(ms: number, work: Promise<void>): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
