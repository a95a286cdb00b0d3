import { Summer } from "../archive/summer.ts";
import { longTimer } from "../base/long-timer.ts";
import { Scrub, type ScrubOptions } from "./scrub.ts";

export interface UpkeepSettings {
  /** Between two collections. */
  collectIntervalMs: number;
  /** A partial download that nobody has gone on with for this long goes. */
  keepPartialMs: number;
  /** After the start: what the node is up to first matters more. */
  scrubDelayMs: number;
  /** A layer's sum is noted this long after the last pull. */
  sumDelayMs: number;
}

export const defaultUpkeep: UpkeepSettings = {
  collectIntervalMs: 10 * 60_000,
  keepPartialMs: 24 * 3600_000,
  scrubDelayMs: 30_000,
  sumDelayMs: 60_000,
};

export interface UpkeepOptions extends Omit<ScrubOptions, "file" | "summer"> {
  settings: UpkeepSettings;
  scrubFile: string;
  /** Bytes that are read in a second, at most; 0 = as many as the disk gives. */
  scrubRate: number;
  /** Whether pulls are under way: what can wait waits. */
  isBusy: () => boolean;
}

/** What the image store does by itself, one thing after the other and none in a hurry: collects, scrubs, notes the sums of new layers. */
export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #scrub: Scrub;
  readonly #summer: Summer;
  readonly #stop = new AbortController();
  readonly #timers = new Map<string, Disposable>();
  #tail: Promise<void> = Promise.resolve();

  constructor(options: UpkeepOptions) {
    this.#options = options;
    this.#summer = new Summer({ bytesPerSecond: options.scrubRate });
    this.#scrub = new Scrub({ ...options, file: options.scrubFile, summer: this.#summer });
  }

  /**
   * Collects what a crash has left, and begins.
   * @param options.unclean what the last run had written may not be whole
   */
  async start(options: { unclean: boolean }): Promise<void> {
    const { collector, settings, log } = this.#options;
    const scrub = this.#scrub;
    await collector.collectAll(settings);
    if (options.unclean) {
      log.warn("the last stop was not clean: blobs and layers are verified in the background");
      await scrub.begin();
    }
    if (await scrub.isPending())
      this.#in("scrub", settings.scrubDelayMs, async () => void (await scrub.run({ signal: this.#stop.signal })));
    this.#collectLater();
    this.pulled();
  }

  /** A pull has ended: its layers have no sums yet. */
  pulled(): void {
    this.#in("sums", this.#options.settings.sumDelayMs, () => this.#sums());
  }

  /** Ends what is under way, and waits for it. */
  async stop(): Promise<void> {
    this.#stop.abort();
    for (const timer of this.#timers.values()) timer[Symbol.dispose]();
    // What it has begun to read it reads to the end else.
    await this.#summer[Symbol.asyncDispose]();
    await this.#tail;
  }

  #in(name: string, ms: number, run: () => Promise<void>): void {
    this.#timers.get(name)?.[Symbol.dispose]();
    if (this.#stop.signal.aborted) return;
    const timer = longTimer(
      ms,
      () => {
        this.#tail = this.#tail.then(run).catch((error: unknown) => {
          if (!this.#stop.signal.aborted) this.#options.log.warn({ err: error, work: name }, "upkeep of the image store failed");
        });
      },
      { unref: true },
    );
    this.#timers.set(name, timer);
  }

  #collectLater(): void {
    const { settings, collector } = this.#options;
    this.#in("collect", settings.collectIntervalMs, async () => {
      try {
        if (!this.#stop.signal.aborted) await collector.collectAll(settings);
      } finally {
        this.#collectLater();
      }
    });
  }

  async #sums(): Promise<void> {
    const { snapshotter, isBusy, log } = this.#options;
    const { signal } = this.#stop;
    for (const chainId of snapshotter.layers()) {
      if (isBusy()) return this.pulled();
      signal.throwIfAborted();
      if (!snapshotter.hasLayer(chainId) || (await snapshotter.isSummed(chainId))) continue;
      const wrong = snapshotter.hasLayer(chainId) ? await snapshotter.verifyLayer(chainId, this.#summer, { signal }) : undefined;
      if (wrong !== undefined && snapshotter.hasLayer(chainId)) log.error({ chainId, wrong }, "a layer is damaged on disk");
    }
  }
}
