import { isKind, messageOf } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import type { Logger } from "../base/log.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { Catalog } from "./catalog.ts";
import { type LocalImages, maxLocalManifestBytes } from "./local-images.ts";
import { type ManifestDocument, parseManifest } from "./manifest.ts";

/** What came of a rebuild. */
export interface RebuildResult {
  /** Images that have a record again. */
  restored: ImageRecord[];
  /** What looked like an image and could not be brought back. */
  skipped: { what: string; why: string }[];
}

export interface RebuilderOptions {
  content: ContentStore;
  snapshotter: Pick<Snapshotter, "hasLayer">;
  catalog: Catalog;
  local: LocalImages;
  log: Logger;
}

/**
 * Makes image records anew when the database has lost them: first from the copies of records beside the blobs, which know the names;
 * then from every manifest among the blobs that no record has, without a name. Layers that are lost are unpacked again.
 */
export class Rebuilder {
  readonly #options: RebuilderOptions;

  constructor(options: RebuilderOptions) {
    this.#options = options;
  }

  async rebuild(copies: readonly ImageRecord[], o: { signal: AbortSignal }): Promise<RebuildResult> {
    const result: RebuildResult = { restored: [], skipped: [] };
    for (const copy of this.missing(copies)) await this.#fromCopy(copy, result, o);
    await this.#fromManifests(result, o);
    return result;
  }

  /** The copies whose record is lost, with the names that no other image has got since. */
  missing(copies: readonly ImageRecord[]): ImageRecord[] {
    const { catalog } = this.#options;
    const isFree = (name: string): boolean => catalog.find(name) === undefined;
    return copies
      .filter(({ id }) => catalog.record(id) === undefined)
      .map((copy) => ({ ...copy, repoTags: copy.repoTags.filter(isFree), repoDigests: copy.repoDigests.filter(isFree) }));
  }

  async #fromCopy(copy: ImageRecord, result: RebuildResult, o: { signal: AbortSignal }): Promise<void> {
    const { catalog, snapshotter, local } = this.#options;
    const { repoTags: tags, repoDigests: digests } = copy;
    const record = async (): Promise<ImageRecord> => {
      if (copy.chainIds.every((chainId) => snapshotter.hasLayer(chainId))) {
        catalog.restore([copy]);
        return copy;
      }
      // The copy's blobs, as it may have an index and other platforms besides what the manifest names.
      return local.make(
        [copy.manifestDigest],
        (image) => catalog.add({ ...image, ...(copy.blobs && { blobs: copy.blobs }) }, { tags, digests }),
        o,
      );
    };
    await this.#note(tags[0] ?? copy.id, record, result, o);
  }

  async #fromManifests(result: RebuildResult, o: { signal: AbortSignal }): Promise<void> {
    const { content, catalog, local } = this.#options;
    const known = new Set(catalog.list().flatMap(({ id, manifestDigest, blobs = [] }) => [id, manifestDigest, ...blobs]));
    const documents = new Map<string, ManifestDocument>();
    for await (const { digest, size } of content.list()) {
      o.signal.throwIfAborted();
      const document = known.has(digest) || size > maxLocalManifestBytes ? undefined : await this.#read(digest);
      if (document !== undefined) documents.set(digest, document);
    }
    for (const [digest, document] of documents) {
      if (document.kind !== "manifest" || catalog.record(document.config.digest) !== undefined) continue;
      const index = [...documents].find(([, other]) => other.kind === "index" && other.manifests.some((entry) => entry.digest === digest));
      const chain = [...(index === undefined ? [] : [index[0]]), digest];
      await this.#note(digest, () => local.make(chain, (image) => catalog.add(image, { tags: [], digests: [] }), o), result, o);
    }
  }

  async #note(what: string, run: () => Promise<ImageRecord>, result: RebuildResult, o: { signal: AbortSignal }): Promise<void> {
    const { log } = this.#options;
    try {
      await failpoint("image.rebuild.before-image", o);
      const record = await run();
      await failpoint("image.rebuild.after-image", o);
      result.restored.push(record);
      log.info({ id: record.id, tags: record.repoTags }, "the record of an image was made anew");
    } catch (error) {
      o.signal.throwIfAborted();
      result.skipped.push({ what, why: messageOf(error) });
      log.warn({ image: what, err: error }, "the record of an image could not be made anew");
    }
  }

  /** A blob as a manifest or index; undefined when it is something else. */
  async #read(digest: string): Promise<ManifestDocument | undefined> {
    const { content } = this.#options;
    try {
      const body = await content.read(digest, { maxBytes: maxLocalManifestBytes });
      // A manifest is an object; most blobs are told by their first byte.
      return body[0] === 0x7b ? parseManifest(body, "", digest) : undefined;
    } catch (error) {
      if (isKind(error, "data-loss") || isKind(error, "unimplemented") || isKind(error, "not-found")) return undefined;
      throw error;
    }
  }
}
