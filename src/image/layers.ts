import type { LayerUnpacker } from "../archive/layer-unpacker.ts";
import { defaultUnpackLimits, type UnpackLimits, type UnpackResult } from "../archive/unpack-job.ts";
import { CridError, isKind } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import type { Descriptor } from "../registry/descriptor.ts";
import type { LayerForm, LayerStage, Snapshotter } from "../snapshot/snapshotter.ts";
import { Blobs, type BlobsOptions, type PullSource } from "./blobs.ts";
import { BlobLost, FollowedBlob } from "./followed-blob.ts";
import { SingleFlight } from "./single-flight.ts";

export type { PullSource } from "./blobs.ts";

/** One layer of an image that is pulled. */
export interface Layer {
  blob: Descriptor;
  diffId: string;
  chainId: string;
}

export interface LayersOptions extends BlobsOptions {
  snapshotter: Pick<Snapshotter, "hasLayer" | "beginLayer" | "removeLayer" | "checkLayer" | "verifyLayer">;
  /** Chain ids of layers under root file systems. */
  inUse: () => Iterable<string>;
  unpacker: Pick<LayerUnpacker, "unpack"> & Partial<Pick<LayerUnpacker, "warm">>;
  unpackLimits?: UnpackLimits;
}

interface LayerRequest {
  /** Whether the blob is wanted even where the layer is unpacked already. */
  keepBlob: boolean;
  signal: AbortSignal;
}

/**
 * Brings layers here, each once, however many pulls want it at the same time: a layer is one flight by its chain id. Layers are
 * fetched and unpacked side by side, each while its blob still comes in; they are committed from the lowest up, as a layer's last
 * repairs need those below.
 */
export class Layers {
  readonly #options: LayersOptions;
  readonly #blobs: Blobs;
  readonly #layers = new SingleFlight<void>();
  /** Who waits for a layer below to be visible, by its chain id. */
  readonly #above = new Map<string, Set<() => void>>();

  constructor(options: LayersOptions) {
    this.#options = options;
    this.#blobs = new Blobs(options);
  }

  /**
   * Makes a blob be in the content store.
   * @throws as Repository.download and Ingest
   */
  async ensureBlob(blob: Descriptor, source: PullSource, o: { signal: AbortSignal }): Promise<void> {
    await this.#blobs.ensure(blob, source, o);
  }

  /** A small blob, as soon as it is known to be the one; `ensureBlob` makes it stay. @throws as Blobs.read */
  async readBlob(blob: Descriptor, source: PullSource, o: { maxBytes: number; signal: AbortSignal }): Promise<Buffer> {
    return this.#blobs.read(blob, source, o);
  }

  /** Makes the layer `index` of the image, and with it those below, be unpacked and committed. */
  async ensureLayer(layers: readonly Layer[], index: number, source: PullSource, o: LayerRequest): Promise<void> {
    const layer = layers[index];
    if (layer === undefined) return;
    const there = await this.#options.collector.guard(layer.chainId, () => this.#usable(layer.chainId, o), o);
    // One that is visible already may still be on its way to the disk.
    if (there && !this.#layers.has(layer.chainId)) {
      if (o.keepBlob) await this.ensureBlob(layer.blob, source, o);
      return;
    }
    await this.#layers.run(layer.chainId, ({ signal }) => this.#layer(layers, index, layer, source, { ...o, signal }), o);
  }

  /** Waits for the end of flights that everybody has left. */
  async settle(parts: { blobs: Iterable<string>; chainIds: Iterable<string> }): Promise<void> {
    for (const chainId of parts.chainIds) await this.#layers.abandoned(chainId);
    for (const digest of parts.blobs) await this.#blobs.settle(digest);
  }

  /** Whether the layer is there. One that is damaged goes, to be made anew, unless something runs on it. */
  async #usable(chainId: string, o: { signal: AbortSignal }): Promise<boolean> {
    const { snapshotter, suspects, summer, inUse, log } = this.#options;
    if (!snapshotter.hasLayer(chainId)) return false;
    // Its flight may still be syncing it.
    if (this.#layers.has(chainId)) return true;
    const isSuspect = suspects.hasLayer(chainId);
    const wrong = isSuspect ? await snapshotter.verifyLayer(chainId, summer, o) : await snapshotter.checkLayer(chainId);
    if (wrong === undefined) {
      suspects.clearLayer(chainId);
      return true;
    }
    if ([...inUse()].includes(chainId)) {
      log.error({ chainId, wrong }, "a damaged layer cannot be made anew while a container runs on it");
      return true;
    }
    log.warn({ chainId, wrong }, "a layer was damaged on disk; it is made anew");
    await snapshotter.removeLayer(chainId);
    suspects.clearLayer(chainId);
    return false;
  }

  async #layer(layers: readonly Layer[], index: number, layer: Layer, source: PullSource, o: LayerRequest): Promise<void> {
    const { snapshotter, unpacker } = this.#options;
    unpacker.warm?.();
    let follow = true;
    for (let attempt = 0; ; ) {
      if (snapshotter.hasLayer(layer.chainId)) return;
      try {
        await this.#unpack(layers, index, layer, source, { ...o, follow });
        source.progress.done(layer.blob);
        return;
      } catch (error) {
        o.signal.throwIfAborted();
        if (follow && error instanceof BlobLost) {
          follow = false;
          continue;
        }
        // A blob that was here before may have been damaged since: it is fetched again, once.
        if (attempt++ > 0 || isKind(error, "resource-exhausted") || !(await this.#blobs.dropDamaged(layer.blob, error, o))) {
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
    o: LayerRequest & { follow: boolean; form?: LayerForm },
  ): Promise<void> {
    const { snapshotter, log } = this.#options;
    const parents = layers.slice(0, index).map(({ chainId }) => chainId);
    const stage = await snapshotter.beginLayer(layer.chainId, parents, o.form);
    try {
      const result = await this.#fill(stage, layer, source, o);
      await failpoint("image.pull.after-unpack", o);
      const written = performance.now();
      await stage.seal(result);
      const sealed = { ...result, syncMs: result.syncMs + performance.now() - written };
      // Joined, not awaited as ours: the layer below may be somebody else's flight, and must go on if that one leaves.
      const below = this.ensureLayer(layers, index - 1, source, o);
      below.catch(() => undefined);
      await this.#visible(parents.at(-1), below);
      await stage.commit(result, { onVisible: () => this.#announce(layer.chainId) });
      // Visible is enough to stand upon; an image needs it to be on the disk.
      await below;
      source.progress.unpacked(sealed);
    } catch (error) {
      await stage
        .abort()
        .catch((abortError: unknown) => log.warn({ chainId: layer.chainId, err: abortError }, "drop a half-unpacked layer"));
      // Only the layer itself tells, in its middle, that it cannot be an EROFS image.
      if (!isKind(error, "failed-precondition") || stage.target.kind === "directory") throw error;
      await this.#unpack(layers, index, layer, source, { ...o, form: "directory" });
    }
  }

  /** Unpacks the layer into the stage, while its blob comes in if it does. @throws BlobLost when that has to be done anew */
  async #fill(stage: LayerStage, layer: Layer, source: PullSource, o: LayerRequest & { follow: boolean }): Promise<UnpackResult> {
    const { unpacker, content, unpackLimits: limits = defaultUnpackLimits } = this.#options;
    const { blob, diffId: expectedDiffId } = layer;
    const job = { file: content.path(blob.digest), blobBytes: blob.size, target: stage.target, expectedDiffId, limits };
    const here = this.ensureBlob(blob, source, o).then(() => source.progress.unpacking(blob));
    here.catch(() => undefined);
    if (o.follow) {
      using arriving = this.#blobs.arriving(blob.digest);
      const ingest = await Promise.race([here, arriving.promise]);
      if (ingest !== undefined) {
        await using followed = await FollowedBlob.open(ingest, here, o);
        if (followed !== undefined)
          return await followed.read(({ file, growth, signal }) => unpacker.unpack({ ...job, file }, { growth, signal }));
      }
    }
    await here;
    return unpacker.unpack(job, o);
  }

  async #visible(below: string | undefined, flight: Promise<void>): Promise<void> {
    if (below === undefined || this.#options.snapshotter.hasLayer(below)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = this.#above.get(below) ?? new Set();
    this.#above.set(below, waiting.add(resolve));
    try {
      await Promise.race([promise, flight]);
    } finally {
      waiting.delete(resolve);
      if (waiting.size === 0) this.#above.delete(below);
    }
  }

  #announce(chainId: string): void {
    for (const tell of this.#above.get(chainId) ?? []) tell();
  }
}
