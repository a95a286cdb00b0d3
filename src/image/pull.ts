import { setImmediate as nextTurn } from "node:timers/promises";
import pLimit from "p-limit";
import { CridError } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import type { Logger } from "../base/log.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { PullTotals } from "../records/pull-totals.ts";
import type { Descriptor } from "../registry/descriptor.ts";
import type { RegistryAuth } from "../registry/options.ts";
import { formatReference, type Reference, repositoryOf } from "../registry/reference.ts";
import type { Registry } from "../registry/registry.ts";
import type { Repository, Resolved } from "../registry/repository.ts";
import type { Assembler, Found } from "./assemble.ts";
import type { Catalog } from "./catalog.ts";
import type { PullSource } from "./layers.ts";
import { chooseManifest, parseManifest } from "./manifest.ts";
import type { Platform } from "./platform.ts";
import type { PresentImages } from "./present-images.ts";
import { PullProgress, type PullReport } from "./progress.ts";
import type { VerifyImage } from "./verifier.ts";

export interface PullerOptions {
  registry: Pick<Registry, "open">;
  content: ContentStore;
  catalog: Catalog;
  assembler: Assembler;
  present: PresentImages;
  /** Asked about each image before anything of it is fetched but what names it. */
  verify?: VerifyImage;
  platform: Platform;
  maxConcurrentDownloads: number;
  metrics?: PullMetrics;
  log: Logger;
}

/** What is counted of pulls; see `metrics/`. */
export interface PullMetrics {
  /** One finished pull; `result` is "ok" or the kind of its error. */
  pull(result: string, totals: PullTotals): void;
  pullsRunning(delta: 1 | -1): void;
}

/** How one pull is to be made. */
export interface PullOptions {
  auth?: RegistryAuth | undefined;
  /** Default: the node's. Another one's image is for looking at and for exports: it takes the name, and does not run here. */
  platform?: Platform | undefined;
  signal: AbortSignal;
}

const maxIndexDepth = 4;

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
  async pull(ref: Reference, key: string, o: PullOptions): Promise<ImageRecord> {
    const { log, registry, maxConcurrentDownloads } = this.#options;
    const name = formatReference(ref);
    const progress = new PullProgress(name);
    this.#active.add(progress);
    this.#options.metrics?.pullsRunning(1);
    let result = "ok";
    try {
      const repository = await registry.open(ref, { auth: o.auth });
      const source: PullSource = { repository, progress, limit: pLimit(Math.max(1, maxConcurrentDownloads - 1)) };
      const resolving = this.#resolve(repository, o);
      resolving.catch(() => undefined);
      // While the registry thinks the disk is looked at: the client writes its request in the turn after this one.
      await nextTurn();
      await nextTurn();
      // What is known to be here is this node's platform.
      const present = o.platform === undefined ? this.#options.present : undefined;
      const foreseen = present?.foresee(ref);
      const resolved = await resolving;
      progress.resolved();
      const record =
        (await present?.find(resolved.digest, ref, { progress, foreseen })) ?? (await this.#bring(resolved, source, repository, key, o));
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
      this.#options.metrics?.pull(result, progress.totals());
    }
  }

  /** Asks what the reference is. Asks even for what is here: the caller may not be allowed to have it. */
  async #resolve(repository: Repository, o: { signal: AbortSignal }): Promise<Resolved> {
    const { catalog, verify } = this.#options;
    const known = catalog.find(formatReference(repository.ref)) !== undefined;
    const resolved = await repository.resolve({ digestOnly: known, signal: o.signal });
    await verify?.(repository.ref, rootOf(resolved), o);
    return resolved;
  }

  async #bring(resolved: Resolved, source: PullSource, repository: Repository, key: string, o: PullOptions): Promise<ImageRecord> {
    const { assembler, catalog, present } = this.#options;
    const { ref } = repository;
    const platform = o.platform ?? this.#options.platform;
    const found = await this.#find(resolved, repository, platform, o);
    await failpoint("image.pull.after-resolve", o);
    const record = await assembler.assemble(found, source, {
      key,
      label: formatReference(ref),
      platform,
      record: (image) => catalog.commit(image, ref, resolved.digest),
      signal: o.signal,
    });
    if (o.platform === undefined) present.remember(resolved.digest, record, found);
    return record;
  }

  /** Reads down to the manifest of the platform. */
  async #find(resolved: Resolved, repository: Repository, platform: Platform, o: { signal: AbortSignal }): Promise<Found> {
    const root = rootOf(resolved);
    const documents: Found["documents"] = [];
    let descriptor = root;
    for (let depth = 0; depth < maxIndexDepth; depth++) {
      const what = `manifest ${repositoryOf(repository.ref)}@${descriptor.digest}`;
      const fetched = depth === 0 ? resolved.body : undefined;
      const body = fetched ?? (await this.#here(descriptor)) ?? (await repository.manifest(descriptor, o)).body;
      documents.push({ descriptor, body });
      const document = parseManifest(body, descriptor.mediaType, what);
      if (document.kind === "manifest") return { manifestDigest: descriptor.digest, manifest: document, documents };
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
}

/** Index or manifest: what the reference's digest is. */
function rootOf({ mediaType, digest, size }: Resolved): Descriptor {
  return { mediaType, digest, size };
}
