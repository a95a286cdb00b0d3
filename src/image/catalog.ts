import { isDigest } from "../base/digest.ts";
import { isKind } from "../base/errors.ts";
import type { ImageRecord } from "../records/image-record.ts";
import { formatReference, parseReference, type Reference, repositoryOf } from "../registry/reference.ts";

/** The table of the store, as images need it: synchronous, one commit each. */
export interface ImageTable {
  put(record: ImageRecord): void;
  get(id: string): ImageRecord | undefined;
  all(): ImageRecord[];
  delete(id: string): void;
}

export interface CatalogOptions {
  table: ImageTable;
  /** Runs several writes as one. */
  transaction: <T>(run: () => T) => T;
  /** Whether the kubelet's garbage collection must leave the image alone. */
  isPinned: (record: Pick<ImageRecord, "repoTags" | "repoDigests">) => boolean;
  /** Called after each change. */
  onChange?: (records: readonly ImageRecord[]) => void;
}

/** An image as a pull has found it. */
export type PulledImage = Omit<ImageRecord, "repoTags" | "repoDigests" | "pinned">;

/**
 * Which images there are and what they are called. A record is an image (its id is the digest of its config) with all its
 * names; a name belongs to one image at a time. Disk first, then memory; a record is never changed in place.
 */
export class Catalog {
  readonly #options: CatalogOptions;
  readonly #byName = new Map<string, string>();

  constructor(options: CatalogOptions) {
    this.#options = options;
    for (const record of options.table.all()) this.#index(record);
  }

  list(): ImageRecord[] {
    return this.#options.table.all().map((record) => this.#view(record));
  }

  /** By full id. */
  record(id: string): ImageRecord | undefined {
    return this.#options.table.get(id);
  }

  /**
   * The image with this name, id (`sha256:<hex>` or the hex alone) or unique prefix of an id. As in containerd, what can be
   * read as a name is looked for as one first.
   */
  find(text: string): ImageRecord | undefined {
    const id = isDigest(text) ? text : (this.#byName.get(nameOf(text) ?? "") ?? this.#byPrefix(text));
    const record = id === undefined ? undefined : this.#options.table.get(id);
    return record === undefined ? undefined : this.#view(record);
  }

  /**
   * Records a pulled image under the reference: its tag moves here from whatever image had it, its digest is added.
   * @param rootDigest digest of what the reference resolved to (index or manifest)
   */
  commit(image: PulledImage, ref: Reference, rootDigest: string): ImageRecord {
    const tags = ref.digest === undefined ? [formatReference(ref)] : [];
    return this.add(image, { tags, digests: [`${repositoryOf(ref)}@${rootDigest}`] });
  }

  /** Records an image under these full names too; they move here from whatever image had them. */
  add(image: PulledImage, names: { tags: readonly string[]; digests: readonly string[] }): ImageRecord {
    return this.#change(() => {
      for (const name of [...names.digests, ...names.tags]) this.#takeName(name, image.id);
      const before = this.#options.table.get(image.id);
      const repoTags = merged(before?.repoTags, names.tags);
      const repoDigests = merged(before?.repoDigests, names.digests);
      const blobs = [...new Set([...(before?.blobs ?? []), ...(image.blobs ?? [])])];
      const record: ImageRecord = { ...image, repoTags, repoDigests, blobs, pinned: this.#options.isPinned({ repoTags, repoDigests }) };
      return this.#put(record);
    });
  }

  /** Gives an image one more name. @param name full reference with a tag */
  tag(id: string, name: string): ImageRecord | undefined {
    return this.#change(() => {
      const before = this.#options.table.get(id);
      if (before === undefined) return undefined;
      this.#takeName(name, id);
      const repoTags = merged(before.repoTags, [name]);
      return this.#put({ ...before, repoTags, pinned: this.#options.isPinned({ ...before, repoTags }) });
    });
  }

  /** Takes one name away; the image stays. @returns the image that had it */
  untag(name: string): ImageRecord | undefined {
    const id = this.#byName.get(name);
    this.#change(() => this.#takeName(name, ""));
    return id === undefined ? undefined : this.#options.table.get(id);
  }

  /** Writes down that the image no longer has these blobs. */
  forgetBlobs(id: string, digests: ReadonlySet<string>): void {
    const record = this.#options.table.get(id);
    if (record?.blobs === undefined) return;
    const blobs = record.blobs.filter((digest) => !digests.has(digest));
    this.#change(() => this.#put({ ...record, blobs }));
  }

  /** Forgets the image and its names. Idempotent. */
  remove(id: string): void {
    const record = this.#options.table.get(id);
    if (record === undefined) return;
    this.#change(() => this.#options.table.delete(id));
    this.#unindex(record);
  }

  /** Takes records over as they are, for a store that was lost. */
  restore(records: readonly ImageRecord[]): void {
    this.#change(() => {
      for (const record of records) this.#put(record);
    });
  }

  #change<T>(run: () => T): T {
    const result = this.#options.transaction(run);
    this.#options.onChange?.(this.#options.table.all());
    return result;
  }

  #put(record: ImageRecord): ImageRecord {
    this.#options.table.put(record);
    this.#index(record);
    return record;
  }

  /** Takes a name away from another image that has it. That image stays, with one name less. */
  #takeName(name: string, id: string): void {
    const owner = this.#byName.get(name);
    const record = owner === undefined || owner === id ? undefined : this.#options.table.get(owner);
    if (record === undefined) return;
    const without = (names: string[]): string[] => names.filter((other) => other !== name);
    const rest = { ...record, repoTags: without(record.repoTags), repoDigests: without(record.repoDigests) };
    this.#options.table.put({ ...rest, pinned: this.#options.isPinned(rest) });
    this.#byName.delete(name);
  }

  #byPrefix(text: string): string | undefined {
    const prefix = text.startsWith("sha256:") ? text : `sha256:${text}`;
    if (!/^sha256:[0-9a-f]{4,64}$/.test(prefix)) return undefined;
    const found = this.list().filter(({ id }) => id.startsWith(prefix));
    return found.length === 1 ? found[0]?.id : undefined;
  }

  /** The configuration says what is pinned, and it may have changed since the record was written. */
  #view(record: ImageRecord): ImageRecord {
    const pinned = this.#options.isPinned(record);
    return pinned === record.pinned ? record : { ...record, pinned };
  }

  #index(record: ImageRecord): void {
    for (const name of [...record.repoTags, ...record.repoDigests]) this.#byName.set(name, record.id);
  }

  #unindex(record: ImageRecord): void {
    for (const name of [...record.repoTags, ...record.repoDigests]) {
      if (this.#byName.get(name) === record.id) this.#byName.delete(name);
    }
  }
}

/** The full name that a text stands for, or undefined when it is none. */
function nameOf(text: string): string | undefined {
  try {
    return formatReference(parseReference(text));
  } catch (error) {
    if (isKind(error, "invalid-argument")) return undefined;
    throw error;
  }
}

function merged(names: readonly string[] | undefined, added: readonly string[]): string[] {
  return [...new Set([...(names ?? []), ...added])].sort((a, b) => (a < b ? -1 : 1));
}
