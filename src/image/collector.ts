import pLimit from "p-limit";
import { failpoint } from "../base/failpoints.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { Logger } from "../base/log.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { Catalog } from "./catalog.ts";
import type { Leases } from "./leases.ts";

/** A partial download that nobody has gone on with for this long is removed at the next start. */
const staleIngestMs = 24 * 3600_000;

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
  log: Logger;
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

  /** Removes all that nothing refers to: at start, what a crash has left. */
  async collectAll(): Promise<void> {
    const { content, snapshotter, leases, log } = this.#options;
    await leases.dropExpired();
    const blobs: string[] = [];
    for await (const { digest } of content.list()) blobs.push(digest);
    const before = { blobs: blobs.length, layers: snapshotter.layers().length };
    await this.collect({ blobs, chainIds: snapshotter.layers() });
    await content.removeStaleIngests({ olderThanMs: staleIngestMs });
    const layers = before.layers - snapshotter.layers().length;
    const gone = before.blobs - content.usage.inodes;
    if (layers > 0 || gone > 0) log.info({ blobs: gone, layers }, "removed blobs and layers that no image refers to");
  }

  async #removeUnless(name: string, kind: keyof References, remove: () => Promise<void>): Promise<void> {
    await this.guard(name, async () => {
      if (!this.#references()[kind].has(name)) await remove();
    });
  }

  async #removeBlob(digest: string): Promise<void> {
    await this.#options.content.remove(digest);
    await this.#options.content.removePartial(digest);
  }

  #references(): References {
    const blobs = new Set<string>();
    const chainIds = new Set<string>();
    for (const record of this.#options.catalog.list()) {
      for (const digest of record.blobs ?? [record.id, record.manifestDigest]) blobs.add(digest);
      for (const chainId of record.chainIds) chainIds.add(chainId);
    }
    for (const lease of this.#options.leases.current()) {
      for (const digest of lease.blobs) blobs.add(digest);
      for (const chainId of lease.chainIds) chainIds.add(chainId);
    }
    for (const chainId of this.#options.inUse()) chainIds.add(chainId);
    return { blobs, chainIds };
  }
}

interface References {
  blobs: Set<string>;
  chainIds: Set<string>;
}
