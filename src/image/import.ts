import { randomUUID } from "node:crypto";
import { defaultUnpackLimits, type UnpackLimits } from "../archive/unpack-job.ts";
import { CridError, isKind } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import type { Logger } from "../base/log.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { Descriptor } from "../registry/descriptor.ts";
import { formatReference, parseReference, repositoryOf } from "../registry/reference.ts";
import type { ArchivedImage } from "./archive/archived-image.ts";
import { readDockerArchive } from "./archive/docker-archive.ts";
import { readOciLayout } from "./archive/oci-layout.ts";
import { StagedArchive } from "./archive/staged-archive.ts";
import type { Assembler } from "./assemble.ts";
import type { Catalog } from "./catalog.ts";
import type { Collector } from "./collector.ts";
import { localSource } from "./local-source.ts";
import type { Platform } from "./platform.ts";
import { PullProgress, type PullReport } from "./progress.ts";

export interface ImporterOptions {
  content: ContentStore;
  catalog: Catalog;
  collector: Collector;
  assembler: Assembler;
  platform: Platform;
  unpackLimits?: UnpackLimits;
  log: Logger;
}

export interface ImportOptions {
  /** The name of the only image of the archive, or the repository of those that have a tag alone. */
  name?: string | undefined;
  /** Default: this node's. */
  platform?: Platform | undefined;
  /** Keep the other platforms' blobs too, for an export with all of them. */
  allPlatforms?: boolean;
  /** What is told while it goes on. */
  progress?: ImportProgress;
  signal: AbortSignal;
}

/** How far an import is; looked at by whoever wants to show it. */
export class ImportProgress {
  /** Read of the archive, as it comes. */
  bytes = 0;
  image: PullProgress | undefined;

  report(): { bytes: number; image: PullReport | undefined } {
    return { bytes: this.bytes, image: this.image?.report() };
  }
}

/** An archive has some files for each image; docker's of old had four for each layer. */
const maxEntries = 200_000;

/**
 * Brings images from archives: OCI layouts and what `docker save` writes, plain, gzip or zstd. Nothing of an archive is visible before
 * all of it was read, and then only what its images need.
 */
export class Importer {
  readonly #options: ImporterOptions;

  constructor(options: ImporterOptions) {
    this.#options = options;
  }

  /**
   * Imports all images of an archive, one after the other; those before one that fails stay.
   *
   * @throws invalid-argument for a damaged or hostile archive, or one of something else; not-found when it has not the platform;
   * resource-exhausted when the disk is full
   */
  async import(source: AsyncIterable<Buffer>, o: ImportOptions): Promise<ImageRecord[]> {
    const { content, unpackLimits = defaultUnpackLimits } = this.#options;
    try {
      await using archive = await StagedArchive.read(source, {
        content,
        limits: { maxBytes: unpackLimits.maxBytes, maxEntries },
        onBytes: (bytes) => {
          if (o.progress !== undefined) o.progress.bytes = bytes;
        },
        signal: o.signal,
      });
      await failpoint("image.import.after-read", o);
      const platform = o.platform ?? this.#options.platform;
      const images =
        (await readOciLayout(archive, { platform, allPlatforms: o.allPlatforms === true })) ?? (await readDockerArchive(archive));
      if (images === undefined || images.length === 0) throw notAnArchive(archive);
      const tags = images.map((image) => tagsOf(image, o.name, images.length));
      const records: ImageRecord[] = [];
      for (const [index, image] of images.entries()) records.push(await this.#one(archive, image, tags[index] ?? [], platform, o));
      return [...new Map(records.map((record) => [record.id, this.#options.catalog.record(record.id) ?? record])).values()];
    } catch (error) {
      o.signal.throwIfAborted();
      const failed = CridError.from(error, "import");
      // The archive is the caller's: what is wrong with it is not damage of ours.
      throw isKind(failed, "data-loss") ? new CridError("invalid-argument", failed.message, { cause: failed }) : failed;
    }
  }

  async #one(archive: StagedArchive, image: ArchivedImage, tags: string[], platform: Platform, o: ImportOptions): Promise<ImageRecord> {
    const { assembler, catalog, log } = this.#options;
    const label = tags[0] ?? image.rootDigest ?? image.manifestDigest;
    const progress = new PullProgress(label);
    if (o.progress !== undefined) o.progress.image = progress;
    const { rootDigest } = image;
    const digests = rootDigest === undefined ? [] : tags.map((tag) => `${repositoryOf(parseReference(tag))}@${rootDigest}`);
    const { config, layers } = image.manifest;
    const record = await assembler.assemble(image, localSource(progress, "in the archive"), {
      key: `import ${randomUUID()}`,
      once: true,
      label,
      platform,
      prepare: async () => {
        for (const blob of new Map([config, ...layers, ...image.others].map((part) => [part.digest, part])).values())
          await this.#place(archive, blob, o);
        await failpoint("image.import.after-blobs", o);
      },
      onFailure: "collect",
      record: (found) => catalog.add(found, { tags, digests }),
      signal: o.signal,
    });
    log.info({ id: record.id, tags, ms: progress.ms }, "imported an image");
    return record;
  }

  /** A layer that the archive leaves out (docker does so with those that may not be distributed) may be here. */
  async #place(archive: StagedArchive, blob: Descriptor, o: { signal: AbortSignal }): Promise<void> {
    const { collector, content } = this.#options;
    await collector.guard(
      blob.digest,
      async () => {
        if (archive.has(blob.digest) || (await content.stat(blob.digest)) === undefined) await archive.commit(blob);
      },
      o,
    );
  }
}

function tagsOf(image: ArchivedImage, name: string | undefined, images: number): string[] {
  if (name === undefined) return image.tags;
  const reference = parseReference(name);
  if (reference.digest !== undefined)
    throw new CridError("invalid-argument", `${JSON.stringify(name)} has a digest; give a name, or a name with a tag`);
  const hasTag = name.slice(name.lastIndexOf("/") + 1).includes(":");
  if (image.plainTag !== undefined && !hasTag) return [formatReference(parseReference(`${name}:${image.plainTag}`))];
  if (images > 1) throw new CridError("invalid-argument", `the archive has ${images} images: they cannot all be named ${name}`);
  return [formatReference(reference)];
}

function notAnArchive(archive: StagedArchive): CridError {
  const old = archive.file("repositories") !== undefined;
  return new CridError(
    "invalid-argument",
    old
      ? "the archive was written by a docker before 1.10, which is not supported: load and save it with a current one"
      : "there is no image in it: an OCI layout has oci-layout and index.json, an archive of docker save has manifest.json",
  );
}
