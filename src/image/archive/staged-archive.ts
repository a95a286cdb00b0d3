import { type Compression, detectCompression } from "../../archive/inflate.ts";
import { TarReader } from "../../archive/tar-reader.ts";
import { isDigest } from "../../base/digest.ts";
import { CridError, isKind } from "../../base/errors.ts";
import type { ContentStore } from "../../content/content-store.ts";
import type { UnnamedIngest } from "../../content/unnamed-ingest.ts";
import type { Descriptor } from "../../registry/descriptor.ts";
import { ArchiveSink, type ArchiveStep } from "./archive-sink.ts";
import { withPlainBytes } from "./plain-bytes.ts";

/** Bounds on an archive, as it is after decompression. */
export interface ArchiveLimits {
  maxBytes: number;
  maxEntries: number;
}

/** A file of an archive that is on disk, but that nobody sees yet. */
export interface StagedFile {
  readonly path: string;
  readonly size: number;
  readonly digest: string;
  readonly compression: Compression;
}

interface Held extends StagedFile {
  /** Absent for a blob that the content store had already: it was not written again. */
  ingest: UnnamedIngest | undefined;
}

interface Current {
  path: string;
  /** Undefined when the bytes are not wanted. */
  ingest: UnnamedIngest | undefined;
  /** A blob that the content store has. */
  known?: { digest: string; size: number };
  head: Buffer;
}

const maxLinkDepth = 16;
/** Of docker's archives before OCI; nothing reads them any more, and each would be a file. */
const uselessFile = /^[0-9a-f]{64}\/(VERSION|json)$/;
const blobPath = /^blobs\/(sha256|sha512)\/([0-9a-f]+)$/;

/**
 * An image archive, taken apart: every file of it is on disk under a name that nobody knows, with its digest. Disposing drops what
 * was not committed. The archive may be tar, tar+gzip or tar+zstd.
 */
export class StagedArchive implements AsyncDisposable {
  readonly #content: ContentStore;
  readonly #limits: ArchiveLimits;
  readonly #sink = new ArchiveSink();
  readonly #files = new Map<string, Held>();
  readonly #byDigest = new Map<string, Held>();
  #current: Current | undefined;

  private constructor(content: ContentStore, limits: ArchiveLimits) {
    this.#content = content;
    this.#limits = limits;
  }

  /**
   * @throws invalid-argument for a damaged or hostile archive; resource-exhausted when the disk is full; the signal's reason
   */
  static async read(
    source: AsyncIterable<Buffer>,
    o: { content: ContentStore; limits: ArchiveLimits; onBytes?: (bytes: number) => void; signal: AbortSignal },
  ): Promise<StagedArchive> {
    const archive = new StagedArchive(o.content, o.limits);
    try {
      await archive.#read(source, o);
      return archive;
    } catch (error) {
      await archive[Symbol.asyncDispose]();
      o.signal.throwIfAborted();
      throw CridError.from(error, "read the archive");
    }
  }

  /** The file at a path (one character a byte), through the archive's own links. */
  file(path: string): StagedFile | undefined {
    return this.#at(path);
  }

  has(digest: string): boolean {
    return this.#byDigest.has(digest);
  }

  /**
   * Reads a small file.
   * @throws invalid-argument when it is larger than `maxBytes`; that is looked at before a byte is read
   */
  async text(path: string, o: { maxBytes: number }): Promise<Buffer | undefined> {
    const file = this.#at(path);
    return file === undefined ? undefined : this.#contentOf(file, o);
  }

  /** Reads a small blob. @throws invalid-argument when it is not there, or has another size than the descriptor says */
  async blob({ digest, size }: Descriptor, o: { maxBytes: number }): Promise<Buffer> {
    const file = this.#byDigest.get(digest);
    if (file === undefined) throw new CridError("invalid-argument", `${digest} is not in the archive`);
    if (file.size !== size) throw new CridError("invalid-argument", `${digest} has ${file.size} bytes in the archive, not ${size}`);
    return this.#contentOf(file, o);
  }

  /**
   * Makes the blob be in the content store. The caller holds a lease on it, and the collector's guard.
   * @throws invalid-argument when the archive does not have it, or in another size; aborted when it was removed meanwhile
   */
  async commit({ digest, size }: Descriptor): Promise<void> {
    const file = this.#byDigest.get(digest);
    if (file === undefined) throw new CridError("invalid-argument", `${digest} is not in the archive`);
    if (file.size !== size) throw new CridError("invalid-argument", `${digest} has ${file.size} bytes in the archive, not ${size}`);
    const there = await this.#content.stat(digest);
    if (there?.size === size) return;
    if (file.ingest === undefined) throw removedMeanwhile(file);
    await file.ingest.commit();
    file.ingest = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#current?.ingest?.[Symbol.asyncDispose]();
    for (const { ingest } of this.#files.values()) await ingest?.[Symbol.asyncDispose]();
  }

  async #read(source: AsyncIterable<Buffer>, o: { onBytes?: (bytes: number) => void; signal: AbortSignal }): Promise<void> {
    await withPlainBytes(counted(source, o.onBytes), (plain) => this.#unpack(plain), o);
  }

  async #unpack(plain: AsyncIterable<Buffer>): Promise<void> {
    const reader = new TarReader(this.#sink, { maxEntries: this.#limits.maxEntries });
    let bytes = 0;
    for await (const chunk of plain) {
      bytes += chunk.length;
      if (bytes > this.#limits.maxBytes) throw new CridError("invalid-argument", `it unpacks to more than ${this.#limits.maxBytes} bytes`);
      reader.push(chunk);
      for (const step of this.#sink.take()) await this.#do(step);
    }
    reader.finish();
  }

  async #do(step: ArchiveStep): Promise<void> {
    switch (step.do) {
      case "begin":
        this.#current = await this.#begin(step.path, step.size);
        return;
      case "data": {
        const current = this.#current;
        if (current === undefined) return;
        if (current.head.length < 4) current.head = Buffer.concat([current.head, step.chunk.subarray(0, 4)]);
        return current.ingest?.write(step.chunk);
      }
      case "end":
        return this.#end();
    }
  }

  async #begin(path: string, size: number): Promise<Current> {
    const digest = digestOfPath(path);
    if (this.#files.has(path)) {
      // A blob is its content; any other file that comes twice could be read as two images.
      if (digest !== undefined) return { path, ingest: undefined, head: Buffer.alloc(0) };
      throw new CridError("invalid-argument", `entry ${JSON.stringify(path)} is in it twice`);
    }
    if (uselessFile.test(path)) return { path, ingest: undefined, head: Buffer.alloc(0) };
    if (digest !== undefined && (await this.#content.stat(digest))?.size === size) {
      return { path, ingest: undefined, known: { digest, size }, head: Buffer.alloc(0) };
    }
    const algorithm = digest?.startsWith("sha512:") === true ? "sha512" : "sha256";
    return { path, ingest: await this.#content.ingestUnnamed({ algorithm }), head: Buffer.alloc(0) };
  }

  async #end(): Promise<void> {
    const current = this.#current;
    this.#current = undefined;
    if (current?.known !== undefined)
      this.#add({ path: current.path, ...current.known, compression: detectCompression(current.head), ingest: undefined });
    if (current?.ingest === undefined) return;
    const { path, ingest, head } = current;
    this.#files.set(path, { path, size: ingest.size, digest: "", compression: "none", ingest });
    await ingest.finish();
    const named = digestOfPath(path);
    if (named !== undefined && named !== ingest.digest)
      throw new CridError("invalid-argument", `entry ${JSON.stringify(path)} lies about its content, whose digest is ${ingest.digest}`);
    this.#add({ path, size: ingest.size, digest: ingest.digest, compression: detectCompression(head), ingest });
  }

  #add(file: Held): void {
    this.#files.set(file.path, file);
    // Of equal files the first stands for all; the others are dropped in the end.
    if (!this.#byDigest.has(file.digest)) this.#byDigest.set(file.digest, file);
  }

  #at(path: string): Held | undefined {
    let at = path;
    for (let depth = 0; depth < maxLinkDepth; depth++) {
      const file = this.#files.get(at);
      if (file !== undefined) return file;
      const target = this.#sink.links.get(at);
      if (target === undefined) return undefined;
      at = target;
    }
    throw new CridError("invalid-argument", `entry ${JSON.stringify(path)} of the archive: its links do not end`);
  }

  async #contentOf(file: Held, { maxBytes }: { maxBytes: number }): Promise<Buffer> {
    if (file.size > maxBytes)
      throw new CridError("invalid-argument", `entry ${JSON.stringify(file.path)} has ${file.size} bytes, more than ${maxBytes}`);
    if (file.ingest !== undefined) return file.ingest.read({ maxBytes });
    try {
      return await this.#content.read(file.digest, { maxBytes });
    } catch (error) {
      throw isKind(error, "not-found") ? removedMeanwhile(file) : error;
    }
  }
}

function removedMeanwhile({ digest }: StagedFile): CridError {
  return new CridError("aborted", `${digest} was here and has been removed while the archive was read; import it again`);
}

/** The digest that a file of an OCI layout is named by. */
function digestOfPath(path: string): string | undefined {
  const [, algorithm = "", hex = ""] = blobPath.exec(path) ?? [];
  const digest = `${algorithm}:${hex}`;
  return isDigest(digest) ? digest : undefined;
}

async function* counted(source: AsyncIterable<Buffer>, onBytes: ((bytes: number) => void) | undefined): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    onBytes?.(bytes);
    yield chunk;
  }
}
