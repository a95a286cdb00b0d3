import pLimit, { type LimitFunction } from "p-limit";
import type { BlobGrowth } from "../archive/growing-blob.ts";
import type { LayerUnpacker } from "../archive/layer-unpacker.ts";
import { defaultUnpackLimits, type UnpackLimits, type UnpackResult } from "../archive/unpack-job.ts";
import { CridError, isKind } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import type { Logger } from "../base/log.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { Descriptor } from "../registry/descriptor.ts";
import type { Repository } from "../registry/repository.ts";
import type { LayerForm, Snapshotter } from "../snapshot/snapshotter.ts";
import type { Collector } from "./collector.ts";
import type { PullProgress } from "./progress.ts";
import { SingleFlight } from "./single-flight.ts";

/** One layer of an image that is pulled. */
export interface Layer {
  blob: Descriptor;
  diffId: string;
  chainId: string;
}

/** Who wants it: where to fetch from, and where to tell. */
export interface PullSource {
  repository: Pick<Repository, "download">;
  /** Blobs fetched at once for this pull: less than for all, so that a big image leaves room for another one. */
  limit: LimitFunction;
  progress: PullProgress;
}

export interface LayersOptions {
  content: ContentStore;
  snapshotter: Pick<Snapshotter, "hasLayer" | "beginLayer">;
  unpacker: Pick<LayerUnpacker, "unpack">;
  collector: Collector;
  /** Blobs fetched at once, over all pulls. */
  maxConcurrentDownloads: number;
  unpackLimits?: UnpackLimits;
  log: Logger;
}

/**
 * Brings blobs and layers here, each once, however many pulls want it at the same time: a blob is one flight by its digest, a
 * layer one by its chain id. Layers are fetched and unpacked side by side; they are committed from the lowest up, as a layer's
 * last repairs need those below.
 */
export class Layers {
  readonly #options: LayersOptions;
  readonly #blobs = new SingleFlight<void>();
  readonly #layers = new SingleFlight<void>();
  readonly #limit: LimitFunction;

  constructor(options: LayersOptions) {
    this.#options = options;
    this.#limit = pLimit(options.maxConcurrentDownloads);
  }

  /**
   * Makes a blob be in the content store.
   * @throws as Repository.download and Ingest
   */
  async ensureBlob(blob: Descriptor, source: PullSource, o: { signal: AbortSignal }): Promise<void> {
    const { progress } = source;
    progress.add(blob);
    await this.#blobs.run(blob.digest, (flight) => this.#blob(blob, source, flight), o);
    progress.done(blob);
  }

  /**
   * Makes the layer `index` of the image, and with it those below, be unpacked and committed.
   *
   * @param keepBlob whether the blob is wanted even where the layer is unpacked already
   */
  async ensureLayer(
    layers: readonly Layer[],
    index: number,
    source: PullSource,
    o: { keepBlob: boolean; signal: AbortSignal },
  ): Promise<void> {
    const layer = layers[index];
    if (layer === undefined) return;
    const there = await this.#options.collector.guard(layer.chainId, async () => this.#options.snapshotter.hasLayer(layer.chainId), o);
    if (there) {
      if (o.keepBlob) await this.ensureBlob(layer.blob, source, o);
      return;
    }
    await this.#layers.run(layer.chainId, ({ signal }) => this.#layer(layers, index, layer, source, { ...o, signal }), o);
  }

  /** Waits for the end of flights that everybody has left. */
  async settle(parts: { blobs: Iterable<string>; chainIds: Iterable<string> }): Promise<void> {
    for (const chainId of parts.chainIds) await this.#layers.abandoned(chainId);
    for (const digest of parts.blobs) await this.#blobs.abandoned(digest);
  }

  async #layer(
    layers: readonly Layer[],
    index: number,
    layer: Layer,
    source: PullSource,
    o: { keepBlob: boolean; signal: AbortSignal },
  ): Promise<void> {
    const { snapshotter } = this.#options;
    for (let attempt = 0; ; attempt++) {
      if (snapshotter.hasLayer(layer.chainId)) return;
      await this.ensureBlob(layer.blob, source, o);
      source.progress.unpacking(layer.blob);
      try {
        await this.#unpack(layers, index, layer, source, o);
        return;
      } catch (error) {
        o.signal.throwIfAborted();
        // A blob that was here before may have been damaged since: it is fetched again, once.
        if (attempt > 0 || isKind(error, "resource-exhausted") || !(await this.#dropDamaged(layer.blob, error, o))) {
          throw CridError.from(error, `layer ${layer.blob.digest}`);
        }
      }
    }
  }

  async #unpack(
    layers: readonly Layer[],
    index: number,
    layer: Layer,
    source: PullSource,
    o: { keepBlob: boolean; signal: AbortSignal; form?: LayerForm },
  ): Promise<void> {
    const { snapshotter, unpacker, content, log, unpackLimits = defaultUnpackLimits } = this.#options;
    const parents = layers.slice(0, index).map(({ chainId }) => chainId);
    const stage = await snapshotter.beginLayer(layer.chainId, parents, o.form);
    try {
      const file = content.path(layer.blob.digest);
      const result = await unpacker.unpack({ file, target: stage.target, expectedDiffId: layer.diffId, limits: unpackLimits }, o);
      await failpoint("image.pull.after-unpack", o);
      // Joined, not awaited as ours: the layer below may be somebody else's flight, and must go on if that one leaves.
      await this.ensureLayer(layers, index - 1, source, o);
      await stage.commit(result);
      source.progress.unpacked(result);
    } catch (error) {
      await stage
        .abort()
        .catch((abortError: unknown) => log.warn({ chainId: layer.chainId, err: abortError }, "drop a half-unpacked layer"));
      // Only the layer itself tells, in its middle, that it cannot be an EROFS image.
      if (!isKind(error, "failed-precondition") || stage.target.kind === "directory") throw error;
      await this.#unpack(layers, index, layer, source, { ...o, form: "directory" });
    }
  }

  /** Removes the blob if it is not what its digest says. @returns whether it was so */
  async #dropDamaged({ digest }: Descriptor, error: unknown, o: { signal: AbortSignal }): Promise<boolean> {
    const { content, log } = this.#options;
    if (await content.verify(digest, o)) return false;
    log.warn({ digest, err: error }, "a blob was damaged on disk; it is fetched again");
    await content.remove(digest);
    return true;
  }

  async #blob(blob: Descriptor, source: PullSource, o: { signal: AbortSignal }): Promise<void> {
    const { content, collector } = this.#options;
    const { digest, size } = blob;
    const found = await collector.guard(digest, () => content.stat(digest), o);
    if (found?.size === size) return source.progress.cached(blob);
    if (found !== undefined) await this.#mismatch(blob, found.size, o);
    await source.limit(() => this.#limit(() => this.#download(blob, source, o)));
  }

  /** A blob is here under the digest, with another size: a crash has cut the file, or the manifest lies. */
  async #mismatch({ digest, size }: Descriptor, actual: number, o: { signal: AbortSignal }): Promise<void> {
    const why = new CridError("data-loss", `blob ${digest} has ${actual} bytes, the manifest says ${size}`);
    if (!(await this.#dropDamaged({ mediaType: "", digest, size }, why, o))) throw why;
  }

  async #download(blob: Descriptor, source: PullSource, o: { signal: AbortSignal }): Promise<void> {
    o.signal.throwIfAborted();
    // Left open by an error, the ingest keeps what has come (dispose); a lie was dropped by the download already.
    await using ingest = await this.#options.content.ingest(blob);
    source.progress.started(blob, ingest);
    const result = await source.repository.download(blob, ingest, o);
    await failpoint("image.pull.before-blob-commit", o);
    await ingest.commit();
    source.progress.downloaded(blob, result);
  }
}
