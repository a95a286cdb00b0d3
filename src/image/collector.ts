import pLimit from "p-limit";
import { failpoint } from "../base/failpoints.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { Logger } from "../base/log.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { Catalog } from "./catalog.ts";
import type { Leases } from "./leases.ts";

const removals = 8;

export interface CollectorOptions {
  content: ContentStore;
  snapshotter: Pick<Snapshotter, "layers" | "removeLayer" | "hasLayer">;
  catalog: Catalog;
  leases: Leases;
  /** Waits until the records, and that some are gone, survive a power cut. */
  durable: () => Promise<void>;
  /** Chain ids of layers under root file systems. */
  inUse: () => Iterable<string>;
  metrics?: CollectorMetrics;
  log: Logger;
}

/** What is counted of collections; see `metrics/`. */
export interface CollectorMetrics {
  collected(kind: "blob" | "layer" | "partial", count: number): void;
}

/** What a collection has removed. */
export interface Collected {
  blobs: number;
  layers: number;
  /** Partial downloads. */
  partial: number;
}

/**
 * Removes blobs and layers that no image and no lease refers to, and no root file system stands on.
 *
 * Against a pull at the same time: the pull takes its lease first and then, for each blob and layer, this lock before it looks
 * whether it is there. The collector decides under the lock. So either it sees the lease, or the pull finds the thing gone.
 */
export class Collector {
  readonly #options: CollectorOptions;
  readonly #lock = new KeyedMutex();
  #removed = { blobs: 0, layers: 0 };

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  /** Holds a blob or a layer still, by digest or chain id. */
  async guard<T>(name: string, run: () => Promise<T>, o: { signal?: AbortSignal } = {}): Promise<T> {
    using _ = await this.#lock.acquire(name, o);
    // Awaited here: `using` gives the lock back when the block ends, whatever is still going on in a promise.
    return await run();
  }

  /** Removes those of the given blobs and layers (by chain id) that nothing refers to; several at once, as each waits for the disk. */
  async collect(candidates: { blobs: Iterable<string>; chainIds: Iterable<string> }): Promise<void> {
    const { snapshotter, durable } = this.#options;
    const now = this.#references();
    const chainIds = [...new Set(candidates.chainIds)].filter((name) => !now.chainIds.has(name));
    const blobs = [...new Set(candidates.blobs)].filter((name) => !now.blobs.has(name));
    if (chainIds.length === 0 && blobs.length === 0) return;
    // A power cut must not bring a record back whose files are gone.
    await durable();
    await failpoint("image.collect.before-removals");
    const limit = pLimit(removals);
    const removed = (kind: keyof References, names: string[], remove: (name: string) => Promise<void>): Promise<void>[] =>
      names.map((name) => limit(() => this.#removeUnless(name, kind, () => remove(name))));
    const results = await Promise.allSettled([
      ...removed("chainIds", chainIds, (chainId) => snapshotter.removeLayer(chainId)),
      ...removed("blobs", blobs, (digest) => this.#removeBlob(digest)),
    ]);
    await failpoint("image.collect.after-removals");
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /**
   * Removes all that nothing refers to: at start what a crash has left, and from time to time what leases that have expired held. Goes
   * over everything bit by bit; a pull at the same time does not wait for more than the removal of one thing that it wants.
   *
   * @param o.keepPartialMs partial downloads that nobody has gone on with for this long go too
   */
  async collectAll(o: { keepPartialMs: number }): Promise<Collected> {
    const { content, snapshotter, leases, metrics, log } = this.#options;
    await leases.dropExpired();
    const before = this.#removed;
    const blobs: string[] = [];
    for await (const { digest } of content.list()) blobs.push(digest);
    await this.collect({ blobs, chainIds: snapshotter.layers() });
    const partial = await content.removeStaleIngests({ olderThanMs: o.keepPartialMs });
    metrics?.collected("partial", partial);
    const removed: Collected = { blobs: this.#removed.blobs - before.blobs, layers: this.#removed.layers - before.layers, partial };
    if (removed.blobs > 0 || removed.layers > 0) log.info(removed, "removed blobs and layers that no image refers to");
    return removed;
  }

  async #removeUnless(name: string, kind: keyof References, remove: () => Promise<void>): Promise<void> {
    const { metrics } = this.#options;
    await this.guard(name, async () => {
      if (this.#isReferenced(name, kind)) return;
      await remove();
      const what = kind === "blobs" ? "blobs" : "layers";
      this.#removed = { ...this.#removed, [what]: this.#removed[what] + 1 };
      metrics?.collected(kind === "blobs" ? "blob" : "layer", 1);
    });
  }

  async #removeBlob(digest: string): Promise<void> {
    await this.#options.content.remove(digest);
    await this.#options.content.removePartial(digest);
  }

  /** Asked for each thing that goes, at its last moment: not out of sets that were made before. */
  #isReferenced(name: string, kind: keyof References): boolean {
    for (const part of this.#referring()) {
      const names = part[kind];
      if (Array.isArray(names) ? names.includes(name) : (names as ReadonlySet<string>).has(name)) return true;
    }
    return false;
  }

  #references(): References {
    const blobs = new Set<string>();
    const chainIds = new Set<string>();
    for (const part of this.#referring()) {
      for (const digest of part.blobs) blobs.add(digest);
      for (const chainId of part.chainIds) chainIds.add(chainId);
    }
    return { blobs, chainIds };
  }

  *#referring(): Generator<{ [kind in keyof References]: readonly string[] | ReadonlySet<string> }> {
    for (const { blobs, id, manifestDigest, chainIds } of this.#options.catalog.list())
      yield { blobs: blobs ?? [id, manifestDigest], chainIds };
    yield* this.#options.leases.current();
    yield { blobs: [], chainIds: [...this.#options.inUse()] };
  }
}

interface References {
  blobs: Set<string>;
  chainIds: Set<string>;
}
