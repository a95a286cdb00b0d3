import { CridError, type ErrorKind } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import type { Logger } from "../base/log.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { Descriptor } from "../registry/descriptor.ts";
import type { PulledImage } from "./catalog.ts";
import type { Collector } from "./collector.ts";
import { chainIdsOf, type ParsedConfig, parseImageConfig } from "./config.ts";
import type { Layer, Layers, PullSource } from "./layers.ts";
import type { Lease, Leases } from "./leases.ts";
import type { Manifest } from "./manifest.ts";
import type { Platform } from "./platform.ts";

/** What a reference stands for, read down to the manifest of one platform. */
export interface Found {
  manifestDigest: string;
  manifest: Manifest;
  /** The index, if any, and the manifest: not yet in the content store. */
  documents: { descriptor: Descriptor; body: Buffer }[];
  /** More that is kept with the image, and that `prepare` brings: other platforms. */
  others?: readonly Descriptor[];
}

/**
 * What becomes of the parts when an image cannot be made: kept for the next try with the same key, removed as far as nothing else needs
 * them, or left to whoever had them before.
 */
type FailureAction = "suspend" | "collect" | "release";

export interface AssembleOptions {
  /** What names this work among all, for its lease. */
  key: string;
  /** Nobody comes with the key again: a crash leaves nothing to go on with. */
  once?: boolean;
  /** For people. */
  label: string;
  /** The platform that the image's config must fit. */
  platform: Platform;
  /** Called when the lease is held: from here on nothing that the image needs is collected. */
  prepare?: () => Promise<void>;
  /** Default: what would fail again is collected, anything else waits for the next try. */
  onFailure?: FailureAction;
  /** Makes the record of the image. */
  record: (image: PulledImage) => ImageRecord;
  signal: AbortSignal;
}

export interface AssemblerOptions {
  content: ContentStore;
  leases: Leases;
  collector: Collector;
  /** Waits until records survive a power cut. */
  durable: () => Promise<void>;
  layers: Layers;
  /** Drop a layer's blob once it is unpacked. */
  discardUnpackedLayers: boolean;
  log: Logger;
}

/** Far above any real config; it is parsed on the event loop. */
const maxConfigBytes = 4 * 1024 * 1024;

/** After these the same pull would fail again: nothing of it is kept. After others the parts wait for the next try. */
const finalKinds: ReadonlySet<ErrorKind> = new Set([
  "data-loss",
  "invalid-argument",
  "unimplemented",
  "failed-precondition",
  "resource-exhausted",
]);

function afterFailure(error: unknown, o: { signal: AbortSignal }): FailureAction {
  return !o.signal.aborted && error instanceof CridError && finalKinds.has(error.kind) ? "collect" : "suspend";
}

/** From a manifest to an image with a record, whatever the parts come from. Joins others at every blob and layer; see `Layers`. */
export class Assembler {
  readonly #options: AssemblerOptions;

  constructor(options: AssemblerOptions) {
    this.#options = options;
  }

  /**
   * Brings everything that the manifest names, and makes the record.
   *
   * @throws what the source and the layers throw
   */
  async assemble(found: Found, source: PullSource, o: AssembleOptions): Promise<ImageRecord> {
    const { leases, collector } = this.#options;
    const { key, label, once = false } = o;
    const { config, layers } = found.manifest;
    const blobs = [...found.documents.map(({ descriptor }) => descriptor), config, ...layers, ...(found.others ?? [])].map(
      ({ digest }) => digest,
    );
    let lease = await leases.hold(key, { ref: label, blobs, chainIds: [], once });
    try {
      await o.prepare?.();
      const image = await this.#content(found, source, {
        ...o,
        leaseChain: async (chainIds) => {
          lease = await leases.hold(key, { ref: label, blobs, chainIds, once });
        },
      });
      await failpoint("image.pull.before-record", o);
      const record = o.record(image);
      await failpoint("image.pull.after-record", o);
      await this.#finish(lease, found);
      return record;
    } catch (error) {
      switch (o.onFailure ?? afterFailure(error, o)) {
        case "suspend":
          leases.suspend(lease);
          break;
        case "collect":
          // The other layers' flights may still be closing what they had open.
          await this.#options.layers.settle(lease);
          await leases.release(lease);
          await collector.collect(lease);
          break;
        case "release":
          await leases.release(lease);
      }
      throw error;
    }
  }

  /** Brings everything that the manifest names. */
  async #content(
    found: Found,
    source: PullSource,
    o: AssembleOptions & { leaseChain: (chainIds: readonly string[]) => Promise<void> },
  ): Promise<PulledImage> {
    const { layers, discardUnpackedLayers } = this.#options;
    const { manifest } = found;
    const keepBlob = !discardUnpackedLayers;
    // One failure ends the others: nobody needs four layers of five.
    const stop = new AbortController();
    const signal = AbortSignal.any([o.signal, stop.signal]);
    const work: Promise<unknown>[] = [
      ...found.documents.map(({ descriptor, body }) => this.#keep(descriptor, body, { signal })),
      // The config is read, and the layers go on, before it is on the disk.
      layers.ensureBlob(manifest.config, source, { signal }),
      // The layers' blobs don't wait for the config: only their unpacking does. But if they are not to be kept, they may not be needed.
      ...(keepBlob ? manifest.layers.map((blob) => layers.ensureBlob(blob, source, { signal })) : []),
    ];
    const unpacked = (async (): Promise<PulledImage> => {
      const parsed = await this.#config(manifest, source, { ...o, signal });
      const chainIds = chainIdsOf(parsed.diffIds);
      await o.leaseChain(chainIds);
      const all = manifest.layers.map((blob, index): Layer => ({ blob, diffId: at(parsed.diffIds, index), chainId: at(chainIds, index) }));
      await allOrFirst(all.map((_, index) => layers.ensureLayer(all, index, source, { keepBlob, signal })));
      return this.#image(found, parsed, chainIds);
    })();
    try {
      await allOrFirst([unpacked, ...work]);
      return await unpacked;
    } catch (error) {
      stop.abort(error);
      await Promise.allSettled([unpacked, ...work]);
      throw error;
    }

    function at(list: readonly string[], index: number): string {
      const item = list[index];
      if (item === undefined) throw new CridError("internal", `${o.label}: no layer ${index}`);
      return item;
    }
  }

  async #config(manifest: Manifest, source: PullSource, o: { platform: Platform; signal: AbortSignal }): Promise<ParsedConfig> {
    const { layers } = this.#options;
    const { config } = manifest;
    const what = `image config ${config.digest}`;
    if (config.size > maxConfigBytes) throw new CridError("data-loss", `${what}: it has ${config.size} bytes, more than ${maxConfigBytes}`);
    const body = await layers.readBlob(config, source, { maxBytes: maxConfigBytes, signal: o.signal });
    return parseImageConfig(body, { layers: manifest.layers.length, host: o.platform, what });
  }

  async #keep({ digest }: Descriptor, body: Buffer, o: { signal: AbortSignal }): Promise<void> {
    const { content, collector } = this.#options;
    await collector.guard(digest, () => content.put(digest, body), o);
  }

  #image({ manifestDigest, manifest, documents, others = [] }: Found, parsed: ParsedConfig, chainIds: string[]): PulledImage {
    const own = documents.find(({ descriptor }) => descriptor.digest === manifestDigest);
    const parts = new Map([manifest.config, ...manifest.layers].map(({ digest, size }) => [digest, size]));
    const sizeBytes = [...parts.values()].reduce((sum, size) => sum + size, own?.descriptor.size ?? 0);
    const kept = this.#options.discardUnpackedLayers ? [manifest.config.digest] : [...parts.keys()];
    return {
      id: manifest.config.digest,
      manifestDigest,
      sizeBytes,
      diffIds: parsed.diffIds,
      chainIds,
      config: parsed.config,
      blobs: [...new Set([...[...documents.map(({ descriptor }) => descriptor), ...others].map(({ digest }) => digest), ...kept])],
    };
  }

  /** The image has a record: what only the lease held goes. */
  async #finish(lease: Lease, found: Found): Promise<void> {
    const { leases, collector, durable, log } = this.#options;
    try {
      // Until the record is safe from a power cut the lease holds what it is about, for the next try.
      await durable();
      await leases.release(lease);
      // Those of tries with other credentials, or by other names.
      await leases.dropDone(({ blobs }) => blobs.has(found.manifest.config.digest));
      await collector.collect({
        blobs: new Set([...lease.blobs, ...found.manifest.layers.map(({ digest }) => digest)]),
        chainIds: lease.chainIds,
      });
    } catch (error) {
      // The image is there. What is left over is collected at the next start.
      log.warn({ ref: lease.ref, err: error }, "clean up after a pull");
    }
  }
}

/** Waits for all, or for the first that fails; the others' errors are then nobody's. */
async function allOrFirst(work: Promise<unknown>[]): Promise<void> {
  for (const one of work) one.catch(() => undefined);
  await Promise.all(work);
}
