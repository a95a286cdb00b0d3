import { readFile } from "node:fs/promises";
import pLimit, { type LimitFunction } from "p-limit";
import { CridError, isErrno } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import type { Logger } from "../base/log.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { Ingest, IngestFollower } from "../content/ingest.ts";
import type { Descriptor } from "../registry/descriptor.ts";
import type { Repository } from "../registry/repository.ts";
import type { SumFiles } from "./check.ts";
import type { Collector } from "./collector.ts";
import type { PullProgress } from "./progress.ts";
import { SingleFlight } from "./single-flight.ts";
import type { Suspects } from "./suspects.ts";

/** Who wants it: where to fetch from, and where to tell. */
export interface PullSource {
  repository: Pick<Repository, "download">;
  /** Blobs fetched at once for this pull: less than for all, so that a big image leaves room for another one. */
  limit: LimitFunction;
  progress: PullProgress;
}

export interface BlobsOptions {
  content: ContentStore;
  collector: Collector;
  suspects: Suspects;
  summer: SumFiles;
  /** Blobs fetched at once, over all pulls. */
  maxConcurrentDownloads: number;
  log: Logger;
}

/** Somebody who waits for a download to begin; dispose of it when that is over. */
interface Arrival extends Disposable {
  promise: Promise<Ingest>;
}

/** Brings blobs into the content store, each once, however many pulls want it at the same time: a blob is one flight by its digest. */
export class Blobs {
  readonly #options: BlobsOptions;
  readonly #flights = new SingleFlight<void>();
  readonly #limit: LimitFunction;
  /** Downloads under way. */
  readonly #ingests = new Map<string, Ingest>();
  readonly #waiting = new Map<string, Set<(ingest: Ingest) => void>>();

  constructor(options: BlobsOptions) {
    this.#options = options;
    this.#limit = pLimit(options.maxConcurrentDownloads);
  }

  /**
   * Makes a blob be in the content store.
   * @throws as Repository.download and Ingest
   */
  async ensure(blob: Descriptor, source: PullSource, o: { signal: AbortSignal }): Promise<void> {
    const { progress } = source;
    progress.add(blob);
    await this.#flights.run(blob.digest, (flight) => this.#bring(blob, source, flight), o);
    progress.done(blob);
  }

  /**
   * A small blob, as soon as all of it has come and has its digest: it may not be on the disk yet, which `ensure` waits for.
   * @throws as `ensure`; resource-exhausted when it is larger than `maxBytes`
   */
  async read(blob: Descriptor, source: PullSource, o: { maxBytes: number; signal: AbortSignal }): Promise<Buffer> {
    const here = this.ensure(blob, source, o);
    here.catch(() => undefined);
    if (blob.size <= o.maxBytes) {
      using arriving = this.arriving(blob.digest);
      const ingest = await Promise.race([here, arriving.promise]);
      const whole = ingest === undefined ? undefined : await wholeOf(ingest, here);
      if (whole !== undefined) return whole;
    }
    await here;
    return this.#options.content.read(blob.digest, o);
  }

  /** Waits for the end of a flight that everybody has left. */
  async settle(digest: string): Promise<void> {
    await this.#flights.abandoned(digest);
  }

  /** The download of a blob: the one under way, or the next one. */
  arriving(digest: string): Arrival {
    const now = this.#ingests.get(digest);
    if (now !== undefined) return { promise: Promise.resolve(now), [Symbol.dispose]: () => undefined };
    const { promise, resolve } = Promise.withResolvers<Ingest>();
    const waiting = this.#waiting.get(digest) ?? new Set();
    this.#waiting.set(digest, waiting.add(resolve));
    return {
      promise,
      [Symbol.dispose]: () => {
        waiting.delete(resolve);
        if (waiting.size === 0) this.#waiting.delete(digest);
      },
    };
  }

  /** Removes the blob if it is not what its digest says. @returns whether it was so */
  async dropDamaged({ digest }: Descriptor, error: unknown, o: { signal: AbortSignal }): Promise<boolean> {
    const { content, suspects, summer, log } = this.#options;
    const isWhole = await content.verify(digest, { summer, ...o });
    suspects.clearBlob(digest);
    if (isWhole) return false;
    log.warn({ digest, err: error }, "a blob was damaged on disk; it is fetched again");
    await content.remove(digest);
    return true;
  }

  async #bring(blob: Descriptor, source: PullSource, o: { signal: AbortSignal }): Promise<void> {
    const { content, collector, suspects } = this.#options;
    const { digest, size } = blob;
    const found = await collector.guard(digest, () => content.stat(digest), o);
    const isLost = found !== undefined && suspects.hasBlob(digest) && (await this.dropDamaged(blob, undefined, o));
    if (found?.size === size && !isLost) return source.progress.cached(blob);
    if (found !== undefined && !isLost) await this.#mismatch(blob, found.size, o);
    await source.limit(() => this.#limit(() => this.#download(blob, source, o)));
  }

  /** A blob is here under the digest, with another size: a crash has cut the file, or the manifest lies. */
  async #mismatch(blob: Descriptor, actual: number, o: { signal: AbortSignal }): Promise<void> {
    const { digest, size } = blob;
    const why = new CridError("data-loss", `blob ${digest} has ${actual} bytes, the manifest says ${size}`);
    if (!(await this.dropDamaged(blob, why, o))) throw why;
  }

  async #download(blob: Descriptor, source: PullSource, o: { signal: AbortSignal }): Promise<void> {
    o.signal.throwIfAborted();
    // Left open by an error, the ingest keeps what has come (dispose); a lie was dropped by the download already.
    await using ingest = await this.#options.content.ingest(blob);
    this.#ingests.set(blob.digest, ingest);
    try {
      source.progress.started(blob, ingest);
      for (const tell of this.#waiting.get(blob.digest) ?? []) tell(ingest);
      const result = await source.repository.download(blob, ingest, o);
      await failpoint("image.pull.before-blob-commit", o);
      await ingest.commit();
      source.progress.downloaded(blob, result);
    } finally {
      this.#ingests.delete(blob.digest);
    }
  }
}

/** What an ingest has when it is verified. Undefined when it was dropped, or has just got its name. @param here settles when the blob is in the store */
async function wholeOf(ingest: Ingest, here: Promise<void>): Promise<Buffer | undefined> {
  let follower: IngestFollower;
  try {
    follower = await ingest.follow();
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
  await using followed = follower;
  const { promise: ended, resolve } = Promise.withResolvers<boolean>();
  using _ = followed.onGrowth((growth) => {
    if (growth.kind === "lost") resolve(false);
    else if (growth.complete) resolve(true);
  });
  const whole = followed.extent.complete || (await Promise.race([ended, here.then(() => true)]));
  // Awaited here: the file is closed when this returns.
  return whole ? await readFile(followed.path) : undefined;
}
