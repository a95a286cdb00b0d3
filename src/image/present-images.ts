import type { ContentStore } from "../content/content-store.ts";
import type { ImageRecord } from "../records/image-record.ts";
import { formatReference, type Reference, repositoryOf } from "../registry/reference.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { Catalog } from "./catalog.ts";
import type { Manifest } from "./manifest.ts";
import type { PullProgress } from "./progress.ts";
import type { Suspects } from "./suspects.ts";

/** What an image that was pulled needs on disk. */
interface Needs {
  id: string;
  chainIds: readonly string[];
  /** Blobs that its record has, with their sizes. */
  blobs: ReadonlyMap<string, number>;
}

/** A look at what a reference stood for the last time. */
interface Foreseen {
  rootDigest: string;
  intact: Promise<boolean>;
}

/** An entry is some kilobytes. A node has some hundred images; those beyond are read from disk again. */
const maxKnown = 256;

/**
 * What the images that were pulled of late need, by the digest that their reference resolved to: enough to see that a pull has nothing to do without
 * reading and checking their manifests again. Whether it is all there is looked at on disk each time.
 */
export class PresentImages {
  readonly #content: Pick<ContentStore, "stat">;
  readonly #snapshotter: Pick<Snapshotter, "hasLayer" | "checkLayer">;
  readonly #suspects: Suspects;
  readonly #catalog: Pick<Catalog, "record" | "add" | "find">;
  readonly #known = new Map<string, Needs>();

  constructor(options: {
    content: Pick<ContentStore, "stat">;
    snapshotter: Pick<Snapshotter, "hasLayer" | "checkLayer">;
    suspects: Suspects;
    catalog: Pick<Catalog, "record" | "add" | "find">;
  }) {
    this.#content = options.content;
    this.#snapshotter = options.snapshotter;
    this.#catalog = options.catalog;
    this.#suspects = options.suspects;
  }

  /** Remembers an image that is all here. @param rootDigest what its reference resolved to, the digest of its index or manifest */
  remember(
    rootDigest: string,
    record: ImageRecord,
    found: { manifest: Manifest; documents: { descriptor: { digest: string; size: number } }[] },
  ): void {
    const { config, layers } = found.manifest;
    const all = [config, ...layers, ...found.documents.map(({ descriptor }) => descriptor)];
    const kept = new Set(record.blobs);
    const blobs = new Map(all.filter(({ digest }) => kept.has(digest)).map(({ digest, size }) => [digest, size]));
    this.#known.delete(rootDigest);
    this.#known.set(rootDigest, { id: record.id, chainIds: record.chainIds, blobs });
    const oldest = this.#known.size > maxKnown ? this.#known.keys().next().value : undefined;
    if (oldest !== undefined) this.#known.delete(oldest);
  }

  /**
   * Begins to look whether what the reference stood for the last time is all on disk, for `find`: the registry takes as long to say whether it still
   * stands for that.
   */
  foresee(ref: Reference): Foreseen | undefined {
    const repository = `${repositoryOf(ref)}@`;
    const digests = this.#catalog.find(formatReference(ref))?.repoDigests.filter((digest) => digest.startsWith(repository)) ?? [];
    const rootDigest = digests.map((digest) => digest.slice(repository.length)).find((digest) => this.#known.has(digest));
    if (rootDigest === undefined) return undefined;
    const intact = this.#isIntact(rootDigest);
    intact.catch(() => undefined);
    return { rootDigest, intact };
  }

  /**
   * The image that the reference stands for, with the reference among its names, if nothing of it has to be fetched or unpacked.
   * Undefined when something is missing, has another size, or is not known: then the pull finds out what.
   */
  async find(
    rootDigest: string,
    ref: Reference,
    o: { progress: PullProgress; foreseen: Foreseen | undefined },
  ): Promise<ImageRecord | undefined> {
    const { progress, foreseen } = o;
    if (!(await (foreseen?.rootDigest === rootDigest ? foreseen.intact : this.#isIntact(rootDigest)))) return undefined;
    const needs = this.#known.get(rootDigest);
    // Whoever removes an image takes its record first, and no await stands between this look and the answer.
    const record = needs === undefined ? undefined : this.#catalog.record(needs.id);
    if (needs === undefined || record === undefined) return undefined;
    for (const [digest, size] of needs.blobs) {
      progress.add({ mediaType: "", digest, size });
      progress.cached({ mediaType: "", digest, size });
    }
    const tags = ref.digest === undefined ? [formatReference(ref)] : [];
    const digests = [`${repositoryOf(ref)}@${rootDigest}`];
    const named = tags.every((tag) => record.repoTags.includes(tag)) && digests.every((digest) => record.repoDigests.includes(digest));
    return named ? this.#catalog.find(record.id) : this.#catalog.add(record, { tags, digests });
  }

  async #isIntact(rootDigest: string): Promise<boolean> {
    const needs = this.#known.get(rootDigest);
    if (needs === undefined || !needs.chainIds.every((chainId) => this.#snapshotter.hasLayer(chainId))) return false;
    const blobs = [...needs.blobs];
    if (blobs.some(([digest]) => this.#suspects.hasBlob(digest)) || needs.chainIds.some((chainId) => this.#suspects.hasLayer(chainId)))
      return false;
    const [found, wrong] = await Promise.all([
      Promise.all(blobs.map(([digest]) => this.#content.stat(digest))),
      Promise.all(needs.chainIds.map((chainId) => this.#looksDamaged(chainId))),
    ]);
    return !wrong.includes(true) && blobs.every(([, size], index) => found[index]?.size === size);
  }

  async #looksDamaged(chainId: string): Promise<boolean> {
    return !this.#snapshotter.hasLayer(chainId) || (await this.#snapshotter.checkLayer(chainId)) !== undefined;
  }
}
