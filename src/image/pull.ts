import pLimit from "p-limit";
import { CridError, type ErrorKind } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import type { Logger } from "../base/log.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { Descriptor } from "../registry/descriptor.ts";
import type { RegistryAuth } from "../registry/options.ts";
import { formatReference, type Reference, repositoryOf } from "../registry/reference.ts";
import type { Registry } from "../registry/registry.ts";
import type { Repository } from "../registry/repository.ts";
import type { Catalog, PulledImage } from "./catalog.ts";
import type { Collector } from "./collector.ts";
import { chainIdsOf, parseImageConfig } from "./config.ts";
import type { Layer, Layers, PullSource } from "./layers.ts";
import type { Lease, Leases } from "./leases.ts";
import { chooseManifest, type Manifest, parseManifest } from "./manifest.ts";
import { formatPlatform, type Platform } from "./platform.ts";
import { PullProgress, type PullReport } from "./progress.ts";

export interface PullerOptions {
  registry: Pick<Registry, "open">;
  content: ContentStore;
  catalog: Catalog;
  leases: Leases;
  collector: Collector;
  layers: Layers;
  platform: Platform;
  maxConcurrentDownloads: number;
  /** Drop a layer's blob once it is unpacked. */
  discardUnpackedLayers: boolean;
  metrics?: PullMetrics;
  log: Logger;
}

/** What is counted of pulls; see `metrics/`. */
export interface PullMetrics {
  /** One finished pull; `result` is "ok" or the kind of its error. */
  pull(result: string, seconds: number, bytes: number): void;
  pullsRunning(delta: 1 | -1): void;
}

/** What a reference resolved to, read down to the manifest of this node's platform. */
interface Found {
  /** Index or manifest: what the reference's digest is. */
  root: Descriptor;
  manifestDigest: string;
  manifest: Manifest;
  /** The index, if any, and the manifest: not yet in the content store. */
  documents: { descriptor: Descriptor; body: Buffer }[];
}

const maxIndexDepth = 4;
/** Far above any real config; it is parsed on the event loop. */
const maxConfigBytes = 8 * 1024 * 1024;

/** After these the same pull would fail again: nothing of it is kept. After others the parts wait for the next try. */
const finalKinds: ReadonlySet<ErrorKind> = new Set([
  "data-loss",
  "invalid-argument",
  "unimplemented",
  "failed-precondition",
  "resource-exhausted",
]);

/** One pull from reference to record. Joins others at every blob and layer; see `Layers`. */
export class Puller {
  readonly #options: PullerOptions;
  readonly #active = new Set<PullProgress>();

  constructor(options: PullerOptions) {
    this.#options = options;
  }

  /** Pulls under way. */
  reports(): PullReport[] {
    return [...this.#active].map((progress) => progress.report());
  }

  /**
   * @param key what names this pull among all, for its lease
   * @throws CridError: what the registry says, data-loss when it lies, resource-exhausted when the disk is full
   */
  async pull(ref: Reference, key: string, o: { auth: RegistryAuth | undefined; signal: AbortSignal }): Promise<ImageRecord> {
    const { log, registry, maxConcurrentDownloads } = this.#options;
    const name = formatReference(ref);
    const progress = new PullProgress(name);
    this.#active.add(progress);
    this.#options.metrics?.pullsRunning(1);
    let result = "ok";
    try {
      const repository = await registry.open(ref, { auth: o.auth });
      const source: PullSource = { repository, progress, limit: pLimit(Math.max(1, maxConcurrentDownloads - 1)) };
      const found = await this.#find(repository, o);
      await failpoint("image.pull.after-resolve", o);
      const record = await this.#bring(ref, key, found, source, o);
      log.info({ ref: name, id: record.id, ...progress.summary() }, "pulled");
      return record;
    } catch (error) {
      result = o.signal.aborted ? "canceled" : CridError.from(error).kind;
      o.signal.throwIfAborted();
      log.info({ ref: name, err: error, ...progress.summary() }, "pull failed");
      throw CridError.from(error, `pull ${name}`);
    } finally {
      this.#active.delete(progress);
      this.#options.metrics?.pullsRunning(-1);
      this.#options.metrics?.pull(result, progress.ms / 1000, progress.downloadedBytes);
    }
  }

  /** Asks what the reference is, and reads down to the manifest. Asks even for what is here: the caller may not be allowed to have it. */
  async #find(repository: Repository, o: { signal: AbortSignal }): Promise<Found> {
    const { catalog, platform } = this.#options;
    const known = catalog.find(formatReference(repository.ref)) !== undefined;
    const resolved = await repository.resolve({ digestOnly: known, signal: o.signal });
    const root: Descriptor = { mediaType: resolved.mediaType, digest: resolved.digest, size: resolved.size };
    const documents: Found["documents"] = [];
    let descriptor = root;
    for (let depth = 0; depth < maxIndexDepth; depth++) {
      const what = `manifest ${repositoryOf(repository.ref)}@${descriptor.digest}`;
      const fetched = depth === 0 ? resolved.body : undefined;
      const body = fetched ?? (await this.#here(descriptor)) ?? (await repository.manifest(descriptor, o)).body;
      documents.push({ descriptor, body });
      const document = parseManifest(body, descriptor.mediaType, what);
      if (document.kind === "manifest") return { root, manifestDigest: descriptor.digest, manifest: document, documents };
      descriptor = chooseManifest(document, platform, what);
    }
    throw new CridError("data-loss", `index ${root.digest}: more than ${maxIndexDepth} indexes inside one another`);
  }

  /** A manifest that the content store has. One that is damaged there is fetched again. */
  async #here({ digest, size }: Descriptor): Promise<Buffer | undefined> {
    const { content, log } = this.#options;
    if ((await content.stat(digest)) === undefined) return undefined;
    try {
      return await content.read(digest, { maxBytes: size });
    } catch (error) {
      log.warn({ digest, err: error }, "a manifest was damaged on disk; it is fetched again");
      await content.remove(digest);
      return undefined;
    }
  }

  async #bring(ref: Reference, key: string, found: Found, source: PullSource, o: { signal: AbortSignal }): Promise<ImageRecord> {
    const { leases, collector } = this.#options;
    const { config, layers } = found.manifest;
    const blobs = [...found.documents.map(({ descriptor }) => descriptor.digest), config.digest, ...layers.map(({ digest }) => digest)];
    let lease = await leases.hold(key, { ref: formatReference(ref), blobs, chainIds: [] });
    try {
      const image = await this.#content(found, source, {
        ...o,
        leaseChain: async (chainIds) => {
          lease = await leases.hold(key, { ref: formatReference(ref), blobs, chainIds });
        },
      });
      await failpoint("image.pull.before-record", o);
      const record = this.#options.catalog.commit(image, ref, found.root.digest);
      await failpoint("image.pull.after-record", o);
      await this.#finish(lease, found);
      return record;
    } catch (error) {
      if (!o.signal.aborted && error instanceof CridError && finalKinds.has(error.kind)) {
        // The other layers' flights may still be closing what they had open.
        await this.#options.layers.settle(lease);
        await leases.release(lease);
        await collector.collect(lease);
      } else {
        leases.suspend(lease);
      }
      throw error;
    }
  }

  /** Brings everything that the manifest names. */
  async #content(
    found: Found,
    source: PullSource,
    o: { signal: AbortSignal; leaseChain: (chainIds: readonly string[]) => Promise<void> },
  ): Promise<PulledImage> {
    const { layers, discardUnpackedLayers, platform } = this.#options;
    const { manifest } = found;
    const keepBlob = !discardUnpackedLayers;
    // One failure ends the others: nobody needs four layers of five.
    const stop = new AbortController();
    const signal = AbortSignal.any([o.signal, stop.signal]);
    const work: Promise<unknown>[] = [
      ...found.documents.map(({ descriptor, body }) => this.#keep(descriptor, body, { signal })),
      // The layers' blobs don't wait for the config: only their unpacking does. But if they are not to be kept, they may not be needed.
      ...(keepBlob ? manifest.layers.map((blob) => layers.ensureBlob(blob, source, { signal })) : []),
    ];
    const unpacked = (async (): Promise<PulledImage> => {
      const parsed = await this.#config(manifest, source, { signal });
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
      if (item === undefined) throw new CridError("internal", `${formatPlatform(platform)}: no layer ${index}`);
      return item;
    }
  }

  async #config(manifest: Manifest, source: PullSource, o: { signal: AbortSignal }): Promise<ReturnType<typeof parseImageConfig>> {
    const { layers, content, platform } = this.#options;
    const { config } = manifest;
    const what = `image config ${config.digest}`;
    if (config.size > maxConfigBytes) throw new CridError("data-loss", `${what}: it has ${config.size} bytes, more than ${maxConfigBytes}`);
    await layers.ensureBlob(config, source, o);
    const body = await content.read(config.digest, { maxBytes: maxConfigBytes });
    return parseImageConfig(body, { layers: manifest.layers.length, host: platform, what });
  }

  async #keep({ digest }: Descriptor, body: Buffer, o: { signal: AbortSignal }): Promise<void> {
    const { content, collector } = this.#options;
    await collector.guard(digest, () => content.put(digest, body), o);
  }

  #image({ manifestDigest, manifest, documents }: Found, parsed: ReturnType<typeof parseImageConfig>, chainIds: string[]): PulledImage {
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
      blobs: [...documents.map(({ descriptor }) => descriptor.digest), ...kept],
    };
  }

  /** The image has a record: what only the lease held goes. */
  async #finish(lease: Lease, found: Found): Promise<void> {
    const { leases, collector, log } = this.#options;
    try {
      await leases.release(lease);
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
