import { randomUUID } from "node:crypto";
import { encodeTarHeader, tarEnd, tarPadding } from "../archive/tar-writer.ts";
import { hashFor, parseDigest } from "../base/digest.ts";
import { CridError, isKind } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { Descriptor } from "../registry/descriptor.ts";
import { familiarReference, formatReference, parseReference } from "../registry/reference.ts";
import type { Catalog } from "./catalog.ts";
import type { Leases } from "./leases.ts";
import { type ManifestDocument, parseManifest, parseObject } from "./manifest.ts";

export interface ExporterOptions {
  content: ContentStore;
  catalog: Catalog;
  leases: Leases;
}

export interface ExportOptions {
  /** Export the index with all its platforms; all of them must be here (`import --all-platforms`). */
  allPlatforms?: boolean;
  signal: AbortSignal;
}

const maxDocumentBytes = 4 * 1024 * 1024;
const ociIndex = "application/vnd.oci.image.index.v1+json";

/** One image of the archive, under its names. */
interface Item {
  root: Descriptor;
  /** Full references; sorted. */
  names: string[];
  config: string;
  layers: string[];
  blobs: Descriptor[];
}

/**
 * Writes images as one archive that is an OCI layout and an archive of `docker save` at once, as containerd's does: read by `ctr images
 * import`, `docker load`, skopeo, podman and crid. The same images give the same bytes, whenever and wherever they are exported.
 */
export class Exporter {
  readonly #options: ExporterOptions;

  constructor(options: ExporterOptions) {
    this.#options = options;
  }

  /**
   * @param refs names (exported under that name alone) or ids (under all names that the image has)
   * @throws not-found; failed-precondition when not all blobs are here; data-loss in the middle, when one is damaged on disk
   */
  async *export(refs: readonly string[], o: ExportOptions): AsyncGenerator<Buffer> {
    const records = refs.map((ref) => ({ record: this.#find(ref), names: [] as string[], ref }));
    const { leases } = this.#options;
    // From here on the blobs stay, whatever becomes of the images: no await stands between the look and this.
    const lease = await leases.hold(`export ${randomUUID()}`, {
      ref: refs.join(" "),
      blobs: records.flatMap(({ record }) => record.blobs ?? [record.id, record.manifestDigest]),
      chainIds: [],
      once: true,
    });
    try {
      await failpoint("image.export.after-lease", o);
      const items = new Map<string, Item>();
      for (const { ref, record } of records) {
        const item = await this.#item(record, namesOf(ref, record), o);
        const same = items.get(item.root.digest);
        items.set(item.root.digest, same === undefined ? item : { ...same, names: [...new Set([...same.names, ...item.names])].sort() });
      }
      yield* this.#write([...items.values()], o);
      await failpoint("image.export.before-release", o);
    } finally {
      await leases.release(lease);
    }
  }

  #find(ref: string): ImageRecord {
    const record = this.#options.catalog.find(ref);
    if (record === undefined) throw new CridError("not-found", `export: no image ${JSON.stringify(ref)}`);
    return record;
  }

  async #item(record: ImageRecord, names: string[], o: ExportOptions): Promise<Item> {
    const label = names[0] ?? record.id;
    const manifest = await this.#document(record.manifestDigest, label);
    if (manifest.document.kind !== "manifest") throw new CridError("internal", `export ${label}: ${record.manifestDigest} is no manifest`);
    const { config, layers } = manifest.document;
    const own = [manifest.descriptor, config, ...layers];
    const whole = o.allPlatforms === true ? await this.#index(record, label) : undefined;
    const blobs = whole?.blobs ?? own;
    for (const { digest } of blobs) {
      if ((await this.#options.content.stat(digest)) === undefined) throw this.#missing(label, digest, o);
    }
    return {
      root: whole?.root ?? manifest.descriptor,
      names,
      config: config.digest,
      layers: layers.map(({ digest }) => digest),
      blobs: [...blobs],
    };
  }

  /** The index that the image came with, and everything below it; undefined when it came without. */
  async #index(record: ImageRecord, label: string): Promise<{ root: Descriptor; blobs: Descriptor[] } | undefined> {
    for (const digest of record.blobs ?? []) {
      const size = (await this.#options.content.stat(digest))?.size ?? Number.POSITIVE_INFINITY;
      if (size > maxDocumentBytes) continue;
      const found = await this.#document(digest, label).catch(notADocument);
      if (found?.document.kind !== "index") continue;
      const blobs = [found.descriptor];
      for (const { digest: inner, platform } of found.document.manifests) {
        // Attestations, which no runtime needs.
        if (platform?.os === "unknown") continue;
        const below = await this.#document(inner, label);
        blobs.push(below.descriptor);
        if (below.document.kind === "manifest") blobs.push(below.document.config, ...below.document.layers);
      }
      return { root: found.descriptor, blobs };
    }
    return undefined;
  }

  async #document(digest: string, label: string): Promise<{ descriptor: Descriptor; document: ManifestDocument }> {
    const { content } = this.#options;
    if ((await content.stat(digest)) === undefined) throw this.#missing(label, digest, { allPlatforms: true });
    const body = await content.read(digest, { maxBytes: maxDocumentBytes });
    const what = `manifest ${digest}`;
    const { mediaType } = parseObject(body, what);
    const document = parseManifest(body, "", what);
    const usual = document.kind === "index" ? ociIndex : "application/vnd.oci.image.manifest.v1+json";
    return { descriptor: { mediaType: typeof mediaType === "string" ? mediaType : usual, digest, size: body.length }, document };
  }

  #missing(label: string, digest: string, o: { allPlatforms?: boolean }): CridError {
    const why =
      o.allPlatforms === true
        ? "not all platforms are here: only an import with --all-platforms brings them"
        : "it was dropped after it was unpacked (image.discardUnpackedLayers), or has been lost: pull the image again";
    return new CridError("failed-precondition", `export ${label}: blob ${digest} is not here; ${why}`);
  }

  async *#write(items: Item[], o: { signal: AbortSignal }): AsyncGenerator<Buffer> {
    const blobs = new Map(items.flatMap((item) => item.blobs.map((blob) => [blob.digest, blob])));
    yield* file("oci-layout", Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
    yield* file("index.json", indexOf(items));
    yield* file("manifest.json", dockerManifestOf(items));
    yield encodeTarHeader({ name: "blobs/", type: "directory", size: 0 });
    const sorted = [...blobs.values()].sort((a, b) => (a.digest < b.digest ? -1 : 1));
    for (const algorithm of new Set(sorted.map(({ digest }) => parseDigest(digest).algorithm)))
      yield encodeTarHeader({ name: `blobs/${algorithm}/`, type: "directory", size: 0 });
    for (const blob of sorted) yield* this.#blob(blob, o);
    yield tarEnd;
  }

  async *#blob({ digest, size }: Descriptor, o: { signal: AbortSignal }): AsyncGenerator<Buffer> {
    const name = blobPath(digest);
    // A name of sha512 is longer than the field; no registry serves such blobs.
    if (name.length > 100) throw new CridError("unimplemented", `export: blob ${digest} cannot be exported, only sha256 can`);
    yield encodeTarHeader({ name, type: "file", size });
    const hash = hashFor(digest);
    let bytes = 0;
    for await (const chunk of this.#options.content.open(digest)) {
      o.signal.throwIfAborted();
      bytes += (chunk as Buffer).length;
      if (bytes > size) break;
      hash.update(chunk as Buffer);
      yield chunk as Buffer;
    }
    if (bytes !== size || hash.digest("hex") !== parseDigest(digest).hex)
      throw new CridError("data-loss", `export: blob ${digest} is damaged on disk; run crid images check --repair`);
    yield tarPadding(size);
  }
}

function indexOf(items: Item[]): Buffer {
  const manifests = items.flatMap(({ root, names }) => {
    const { mediaType, digest, size } = root;
    if (names.length === 0) return [{ name: digest, entry: { mediaType, digest, size } }];
    return names.map((name) => {
      const annotations = { "io.containerd.image.name": name, "org.opencontainers.image.ref.name": parseReference(name).tag ?? "" };
      return { name, entry: { mediaType, digest, size, annotations } };
    });
  });
  const sorted = manifests.sort((a, b) => (a.name < b.name ? -1 : 1)).map(({ entry }) => entry);
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests: sorted }));
}

/** What docker reads; it does not know index.json in an archive before version 25. */
function dockerManifestOf(items: Item[]): Buffer {
  const entries = items
    .map(({ config, names, layers }) => ({
      Config: blobPath(config),
      RepoTags: names.map((name) => familiarReference(parseReference(name))),
      Layers: layers.map(blobPath),
    }))
    .sort((a, b) => (a.Config < b.Config ? -1 : 1));
  return Buffer.from(JSON.stringify(entries));
}

function namesOf(ref: string, record: ImageRecord): string[] {
  try {
    const name = formatReference(parseReference(ref));
    if (record.repoTags.includes(name)) return [name];
  } catch (error) {
    if (!isKind(error, "invalid-argument")) throw error;
  }
  return [...record.repoTags].sort();
}

function notADocument(error: unknown): undefined {
  if (isKind(error, "data-loss") || isKind(error, "unimplemented")) return undefined;
  throw error;
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

function* file(name: string, content: Buffer): Generator<Buffer> {
  yield encodeTarHeader({ name, type: "file", size: content.length });
  yield content;
  yield tarPadding(content.length);
}
