import { Summer } from "../archive/summer.ts";
import { CridError, isKind } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import { KeyedMutex, raceAbort } from "../base/keyed-mutex.ts";
import type { ImageRecord } from "../records/image-record.ts";
import { authKey } from "../registry/auth/credentials.ts";
import { formatReference, parseReference } from "../registry/reference.ts";
import type { DiskUsage, PrepareOptions, RootfsMount } from "../snapshot/snapshotter.ts";
import { Assembler } from "./assemble.ts";
import { Catalog } from "./catalog.ts";
import { type CheckProgress, checkImages, type ImageFault } from "./check.ts";
import { Collector } from "./collector.ts";
import { Exporter, type ExportOptions } from "./export.ts";
import { type HostMount, HostMounts } from "./host-mounts.ts";
import type { ImagesOptions } from "./images-options.ts";
import { Importer, type ImportOptions } from "./import.ts";
import { Layers } from "./layers.ts";
import { Leases } from "./leases.ts";
import { LocalImages } from "./local-images.ts";
import { pinnedBy } from "./pinned.ts";
import { formatPlatform, hostPlatform } from "./platform.ts";
import { PresentImages } from "./present-images.ts";
import type { PullReport } from "./progress.ts";
import { Puller, type PullOptions } from "./pull.ts";
import { Rebuilder, type RebuildResult } from "./rebuild.ts";
import { RecordFiles } from "./record-files.ts";
import { type Repair, Repairer } from "./repair.ts";
import { SingleFlight } from "./single-flight.ts";
import { Suspects } from "./suspects.ts";
import { defaultUpkeep, Upkeep } from "./upkeep.ts";
import { Volumes } from "./volumes.ts";

/** How long others wait for what was removed to be gone: a layer as a directory of a million files may take longer. */
const maxSettleMs = 5_000;

/**
 * The images of the node, as the CRI's ImageService and the containers need them.
 *
 * An image is its config: two references to the same config are one image with two names. Removing it by any of its names
 * removes it with all of them. A container that runs keeps its layers: the image is gone from every list, its layers go when
 * the last such container does.
 */
export class Images {
  readonly #options: ImagesOptions;
  readonly #catalog: Catalog;
  readonly #collector: Collector;
  readonly #leases: Leases;
  readonly #puller: Puller;
  readonly #volumes: Volumes;
  readonly #files: RecordFiles;
  readonly #importer: Importer;
  readonly #exporter: Exporter;
  readonly #repairer: Repairer;
  readonly #rebuilder: Rebuilder;
  readonly #mounts: HostMounts;
  readonly #upkeep: Upkeep;
  readonly #suspects = new Suspects();
  readonly #summer = new Summer({ bytesPerSecond: 0 });
  readonly #pulls = new SingleFlight<ImageRecord>();
  readonly #removing = new KeyedMutex();
  /** Root file systems and volumes that are being made: their layers, which the snapshotter does not know of yet. */
  readonly #making = new Map<string, readonly string[]>();

  constructor(options: ImagesOptions) {
    const { table, content, snapshotter, unpacker, log } = options;
    this.#options = options;
    const metrics = options.metrics === undefined ? {} : { metrics: options.metrics };
    this.#files = new RecordFiles({ directory: options.recordsDir, log });
    this.#catalog = new Catalog({
      table,
      transaction: options.transaction ?? ((run) => run()),
      isPinned: pinnedBy(options.pinned),
      onChange: (records) => this.#files.sync(records),
    });
    this.#leases = new Leases({ directory: options.leasesDir, log });
    this.#collector = new Collector({
      content,
      snapshotter,
      catalog: this.#catalog,
      leases: this.#leases,
      inUse: () => this.#layersInUse(),
      ...metrics,
      durable: async () => void (await Promise.all([options.syncTable?.(), this.#files.durable()])),
      log,
    });
    const [catalog, collector, suspects, summer] = [this.#catalog, this.#collector, this.#suspects, this.#summer];
    const unpackLimits = options.unpackLimits === undefined ? {} : { unpackLimits: options.unpackLimits };
    const { discardUnpackedLayers, maxConcurrentDownloads } = options;
    const layers = new Layers({
      content,
      snapshotter,
      unpacker,
      collector,
      inUse: () => this.#layersInUse(),
      suspects,
      summer,
      maxConcurrentDownloads,
      log,
      ...unpackLimits,
    });
    const platform = options.platform ?? hostPlatform();
    const assembler = new Assembler({
      content,
      leases: this.#leases,
      collector,
      durable: async () => options.syncTable?.(),
      layers,
      discardUnpackedLayers,
      log,
    });
    this.#puller = new Puller({
      registry: options.registry,
      content,
      catalog,
      assembler,
      present: new PresentImages({ content, snapshotter, catalog, suspects }),
      platform,
      maxConcurrentDownloads,
      log,
      ...(options.verify === undefined ? {} : { verify: options.verify }),
      ...metrics,
    });
    this.#volumes = new Volumes({ directory: options.volumesDir, snapshotter });
    this.#mounts = new HostMounts({ volumes: this.#volumes, snapshotter });
    this.#importer = new Importer({ content, catalog, collector, assembler, platform, log, ...unpackLimits });
    this.#exporter = new Exporter({ content, catalog, leases: this.#leases });
    const local = new LocalImages({ content, assembler, platform });
    this.#rebuilder = new Rebuilder({ content, snapshotter, catalog, local, log });
    this.#repairer = new Repairer({
      content,
      snapshotter,
      catalog,
      collector,
      local,
      summer,
      pull: (ref, o) => this.pull(ref, o),
      remove: (id, o) => this.remove(id, o),
      log,
    });
    this.#upkeep = new Upkeep({
      settings: { ...defaultUpkeep, ...options.upkeep },
      scrubFile: options.scrubFile,
      scrubRate: options.scrubRate,
      content,
      snapshotter,
      collector,
      list: () => this.list(),
      repair: (faults, o) => this.#repairer.repair(faults, { offline: true, ...o }),
      isBusy: () => this.#puller.reports().length > 0,
      ...metrics,
      log,
    });
  }

  /**
   * Once, before the first pull: takes over the copies of records that the store has lost, forgets images whose layers are lost (the next
   * pull brings them back), and removes blobs and layers that nothing refers to.
   *
   * @param o.unclean the last run did not end by `stop`: what is on disk is verified in the background
   */
  async start(o: { unclean: boolean }): Promise<void> {
    await this.#leases.load();
    const lost = this.#rebuilder.missing(await this.#files.load());
    if (lost.length > 0) {
      this.#options.log.warn({ images: lost.length }, "the store has lost images: the copies of their records are taken over");
      this.#catalog.restore(lost);
    }
    for (const record of this.#catalog.list()) this.#forgetIfLost(record);
    this.#files.sync(this.#options.table.all());
    // The image that a lease was for is here: its record holds what it needs from now on.
    const ids = this.#catalog.list().map(({ id }) => id);
    await this.#leases.dropDone(({ blobs }) => ids.some((id) => blobs.has(id)));
    await this.#mounts.start();
    await this.#upkeep.start(o);
    await this.#files.settled();
  }

  /** Ends what goes on in the background, waits until the copies of the records are written, and a while for what was removed to be gone. */
  async stop(): Promise<void> {
    await this.#upkeep.stop();
    await this.#summer[Symbol.asyncDispose]();
    await Promise.all([this.#files.settled(), this.#settled()]);
  }

  #forgetIfLost({ id, repoTags, chainIds }: ImageRecord): void {
    const { snapshotter, log } = this.#options;
    const chainId = chainIds.find((one) => !snapshotter.hasLayer(one));
    if (chainId === undefined) return;
    log.warn({ id, tags: repoTags, chainId }, "an image has lost a layer; it is forgotten until it is pulled again");
    this.#catalog.remove(id);
  }

  /** Compares what is on disk with what the images need. What it finds, `repair` or the next pull of the image mends. */
  async check(o: { onProgress?: (progress: CheckProgress) => void; signal: AbortSignal }): Promise<ImageFault[]> {
    const { content, snapshotter } = this.#options;
    const faults = await checkImages(this.list(), { content, snapshotter, summer: this.#summer }, o);
    this.#suspects.add(faults);
    return faults;
  }

  /** Mends what a check has found. An image that cannot be mended is removed, so that the next pull brings it. */
  repair(faults: readonly ImageFault[], o: { signal: AbortSignal }): AsyncIterable<Repair> {
    return this.#repairer.repair(faults, o);
  }

  /** Makes records that the store has lost anew, from their copies and from the blobs. Can be called instead of `start`. */
  async rebuild(o: { signal: AbortSignal }): Promise<RebuildResult> {
    await this.#leases.load();
    const result = await this.#rebuilder.rebuild(await this.#files.load(), o);
    await this.#files.settled();
    return result;
  }

  /** Imports all images of an archive; see `Importer`. */
  async import(source: AsyncIterable<Buffer>, o: ImportOptions): Promise<ImageRecord[]> {
    return this.#importer.import(source, o);
  }

  /** Writes images as an archive; see `Exporter`. */
  export(refs: readonly string[], o: ExportOptions): AsyncIterable<Buffer> {
    return this.#exporter.export(refs, o);
  }

  /**
   * Pulls an image and returns it. Asks the registry even when it is here: a tag may have moved, and the credentials may not
   * allow it. Calls at the same time for the same reference with the same credentials are one pull, which goes on while any
   * of the callers waits.
   *
   * @throws CridError: invalid-argument (reference), not-found, unauthenticated, permission-denied, resource-exhausted (rate
   * limit, disk), unavailable, data-loss (the registry lies), failed-precondition (configuration, platform), unimplemented
   */
  async pull(ref: string, o: PullOptions): Promise<ImageRecord> {
    const reference = parseReference(ref);
    // What was removed to make room must have made it.
    await raceAbort(this.#settled(), o.signal);
    const key = [formatReference(reference), authKey(o.auth), ...(o.platform === undefined ? [] : [formatPlatform(o.platform)])].join(" ");
    try {
      return await this.#pulls.run(key, ({ signal }) => this.#puller.pull(reference, key, { ...o, signal }), o);
    } finally {
      this.#upkeep.pulled();
    }
  }

  /** By reference (short ones too), id or unique prefix of an id. */
  get(refOrId: string): ImageRecord | undefined {
    return this.#catalog.find(refOrId);
  }

  list(): ImageRecord[] {
    return this.#catalog.list();
  }

  /** Pulls under way, with what they have so far. */
  pulls(): PullReport[] {
    return this.#puller.reports();
  }

  /**
   * Removes the image with all its names, its blobs and its layers, as far as nothing else uses them. Idempotent. All of it is out of sight
   * when this returns; the bytes are given back a little later, and who asks for `fsInfo` or pulls waits for that.
   */
  async remove(refOrId: string, o: { signal: AbortSignal }): Promise<void> {
    const found = this.get(refOrId);
    if (found === undefined) return;
    using _ = await this.#removing.acquire(found.id, o);
    const record = this.#catalog.record(found.id);
    if (record === undefined) return;
    await failpoint("image.remove.before-record", o);
    this.#catalog.remove(record.id);
    await failpoint("image.remove.after-record", o);
    this.#options.log.info({ id: record.id, tags: record.repoTags, digests: record.repoDigests }, "removed an image");
    await this.#collector.collect({ blobs: record.blobs ?? [record.id, record.manifestDigest], chainIds: record.chainIds });
  }

  /** Gives an image one more name. @throws not-found, invalid-argument */
  tag(refOrId: string, name: string): ImageRecord {
    const reference = parseReference(name);
    if (reference.digest !== undefined) throw new CridError("invalid-argument", `tag image: ${JSON.stringify(name)} has a digest`);
    const found = this.get(refOrId);
    const tagged = found === undefined ? undefined : this.#catalog.tag(found.id, formatReference(reference));
    if (tagged === undefined) throw new CridError("not-found", `tag image: no image ${JSON.stringify(refOrId)}`);
    return tagged;
  }

  /**
   * Takes one name from an image; the image stays, if need be without a name.
   * @throws not-found, invalid-argument
   */
  untag(name: string): void {
    if (this.#catalog.untag(formatReference(parseReference(name))) === undefined)
      throw new CridError("not-found", `untag image: no image is called ${JSON.stringify(name)}`);
  }

  /** Mounts an image read-only for people and returns where; the same place when called again. @throws not-found */
  async mount(refOrId: string): Promise<HostMount> {
    const image = this.get(refOrId);
    if (image === undefined) throw new CridError("not-found", `mount: no image ${JSON.stringify(refOrId)}`);
    return { imageId: image.id, path: await this.mountVolume(this.#mounts.keyOf(image), image) };
  }

  /** @param what the image, or where it is mounted. @throws not-found */
  async unmount(what: string): Promise<void> {
    await this.releaseVolume(await this.#mounts.find(what, this.get(what)));
  }

  /** What `mount` has mounted. */
  async hostMounts(): Promise<HostMount[]> {
    return this.#mounts.list(this.list());
  }

  /**
   * What images take on disk: layers, containers' own files, and blobs. The kubelet, short of room, removes images, then asks this, then looks at the
   * file system, and evicts pods if it finds no room: so what was removed is gone first, or after a while is counted still.
   */
  async fsInfo(): Promise<{ mountpoint: string; bytes: number; inodes: number }[]> {
    const { snapshotter, content } = this.#options;
    await this.#settled();
    const layers = await snapshotter.usageTotal();
    const blobs = content.usage;
    return [{ mountpoint: snapshotter.root, bytes: layers.bytes + blobs.bytes, inodes: layers.inodes + blobs.inodes }];
  }

  /** Makes the root file system `key` of the image and returns its mounts; the same mounts when called again. */
  async rootfs(key: string, image: ImageRecord, o: PrepareOptions = {}): Promise<RootfsMount[]> {
    return this.#using(key, image, () => this.#options.snapshotter.prepare(key, image.chainIds, o));
  }

  /** Whether there is a root file system of this key. */
  holdsRootfs(key: string): boolean {
    return this.#options.snapshotter.chainIdsOf(key).length > 0;
  }

  /** Idempotent. */
  async releaseRootfs(key: string): Promise<void> {
    await this.#release(key, () => this.#options.snapshotter.remove(key));
  }

  /** What the container wrote. @throws not-found */
  async rootfsUsage(key: string): Promise<DiskUsage> {
    return this.#options.snapshotter.usage(key);
  }

  /** Mounts an image read-only on the host and returns where; the same path when called again. */
  async mountVolume(key: string, image: ImageRecord, o: Pick<PrepareOptions, "idmap"> = {}): Promise<string> {
    return this.#using(key, image, () => this.#volumes.mount(key, image.chainIds, o));
  }

  /** Idempotent. */
  async releaseVolume(key: string): Promise<void> {
    await this.#release(key, () => this.#volumes.release(key));
  }

  /** Keys of all image volumes that are mounted or half made, those of an earlier process too. */
  async volumeKeys(): Promise<string[]> {
    return this.#volumes.keys();
  }

  /** Waits a while for what was removed to be gone. */
  async #settled(): Promise<void> {
    const { snapshotter, content } = this.#options;
    await Promise.all([snapshotter.settled({ timeoutMs: maxSettleMs }), content.settled({ timeoutMs: maxSettleMs })]);
  }

  async #using<T>(key: string, image: ImageRecord, make: () => Promise<T>): Promise<T> {
    const exists = this.#options.snapshotter.chainIdsOf(key).length > 0;
    if (!exists && this.#catalog.record(image.id) === undefined)
      throw new CridError("not-found", `image ${nameOf(image)} has been removed; pull it again`);
    // From here on the layers stay, whatever becomes of the image: no await stands between the look and this.
    this.#making.set(key, image.chainIds);
    try {
      return await make();
    } catch (error) {
      // The kubelet pulls what is not in the list.
      if (isKind(error, "not-found")) this.#forgetIfLost(image);
      throw isKind(error, "not-found") ? CridError.from(error, `image ${nameOf(image)} has lost a layer; pull it again`) : error;
    } finally {
      this.#making.delete(key);
    }
  }

  /** Takes a root file system or volume away. If it was the last to stand on layers of an image that has been removed, they go too. */
  async #release(key: string, remove: () => Promise<void>): Promise<void> {
    const chainIds = this.#options.snapshotter.chainIdsOf(key);
    await remove();
    const top = chainIds.at(-1);
    if (this.#catalog.list().some((image) => image.chainIds.at(-1) === top)) return;
    await this.#collector.collect({ blobs: [], chainIds });
  }

  *#layersInUse(): Generator<string> {
    const { snapshotter } = this.#options;
    for (const key of snapshotter.keys()) yield* snapshotter.chainIdsOf(key);
    for (const chainIds of this.#making.values()) yield* chainIds;
  }
}

function nameOf(image: ImageRecord): string {
  return image.repoTags[0] ?? image.repoDigests[0] ?? image.id;
}
