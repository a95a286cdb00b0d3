import { randomUUID } from "node:crypto";
import { createReadStream, type ReadStream } from "node:fs";
import { mkdir, open, opendir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Summer } from "../archive/summer.ts";
import { type DigestAlgorithm, hashFor, isDigest, parseDigest } from "../base/digest.ts";
import { syncDirectory } from "../base/durable.ts";
import { CridError, isErrno } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { Trash } from "../linux/trash.ts";
import { Ingest } from "./ingest.ts";
import { UnnamedIngest } from "./unnamed-ingest.ts";

const unnamedPrefix = "unnamed-";

/**
 * Blobs by digest:
 *
 *     <root>/blobs/<algorithm>/<hex>     whole and verified
 *     <root>/ingest/<algorithm>-<hex>    what has come so far of one that is on its way
 *     <root>/removed/                    what is no blob any more, until its bytes are given back
 *
 * A name in `blobs/` is a promise: the file has this content and is on the disk. `Ingest.commit` says how it is kept.
 */
export class ContentStore {
  readonly root: string;
  readonly #log: Logger;
  readonly #ingests = new Map<string, Ingest>();
  readonly #trash: Trash;
  #bytes = 0;
  #count = 0;

  private constructor(root: string, trash: Trash, log: Logger) {
    this.root = root;
    this.#trash = trash;
    this.#log = log;
  }

  /** Makes the folders, and counts what is there. */
  static async open(options: { root: string; log: Logger }): Promise<ContentStore> {
    const trash = await Trash.open({ directory: join(options.root, "removed"), log: options.log });
    const store = new ContentStore(options.root, trash, options.log);
    for (const name of ["blobs/sha256", "blobs/sha512", "ingest"]) await mkdir(join(options.root, name), { recursive: true, mode: 0o700 });
    for await (const { size } of store.list()) store.#counted(size, 1);
    await store.#sweepUnnamed();
    return store;
  }

  /** What the whole blobs take, and those that were removed and are not gone yet. */
  get usage(): { bytes: number; inodes: number } {
    const { bytes, inodes } = this.#trash.pending;
    return { bytes: this.#bytes + bytes, inodes: this.#count + inodes };
  }

  /** Waits until the bytes of removed blobs are given back, or for so long. */
  async settled(o: { timeoutMs: number }): Promise<void> {
    await this.#trash.settled(o);
  }

  /** Where the blob lies, or would. @throws invalid-argument for what is no digest */
  path(digest: string): string {
    const { algorithm, hex } = parseDigest(digest);
    return join(this.root, "blobs", algorithm, hex);
  }

  async stat(digest: string): Promise<{ size: number; modifiedMs: number } | undefined> {
    try {
      const { size, mtimeMs } = await stat(this.path(digest));
      return { size, modifiedMs: mtimeMs };
    } catch (error) {
      if (isErrno(error, "ENOENT")) return undefined;
      throw CridError.from(error, `look for blob ${digest}`);
    }
  }

  /**
   * Reads a whole blob, after checking its size and digest: small ones such as manifests.
   * @throws not-found; resource-exhausted when it is larger than `maxBytes`; data-loss when it is damaged
   */
  async read(digest: string, options: { maxBytes: number }): Promise<Buffer> {
    try {
      await using file = await open(this.path(digest), "r");
      const { size } = await file.stat();
      if (size > options.maxBytes) throw new CridError("resource-exhausted", `it has ${size} bytes, more than ${options.maxBytes}`);
      const data = await file.readFile();
      if (`${digest.slice(0, digest.indexOf(":"))}:${hashFor(digest).update(data).digest("hex")}` !== digest) {
        throw new CridError("data-loss", "it is damaged on disk");
      }
      return data;
    } catch (error) {
      throw CridError.from(error, `read blob ${digest}`);
    }
  }

  /** A stream of the blob as it is on disk. */
  open(digest: string): ReadStream {
    return createReadStream(this.path(digest), { highWaterMark: 1024 * 1024 });
  }

  /** Whether the blob is there and undamaged. Reads all of it, with `summer` off the event loop. */
  async verify(digest: string, options: { summer?: Pick<Summer, "sum">; signal: AbortSignal }): Promise<boolean> {
    const { summer, signal } = options;
    try {
      if (summer !== undefined) {
        const { algorithm } = parseDigest(digest);
        return (await summer.sum({ what: algorithm, path: this.path(digest) }, { signal })) === digest;
      }
      const hash = hashFor(digest);
      for await (const chunk of createReadStream(this.path(digest), { highWaterMark: 256 * 1024, signal })) hash.update(chunk as Buffer);
      return hash.digest("hex") === parseDigest(digest).hex;
    } catch (error) {
      signal.throwIfAborted();
      if (isErrno(error, "ENOENT") || isErrno(error, "EIO")) return false;
      throw CridError.from(error, `verify blob ${digest}`);
    }
  }

  /**
   * Begins to write a blob, or goes on with what an earlier, broken off ingest has left. One at a time for a digest.
   *
   * @throws already-exists while another ingest of the digest is open; resource-exhausted when the disk is full
   */
  async ingest(options: { digest: string; size: number }): Promise<Ingest> {
    const { digest, size } = options;
    const { algorithm, hex } = parseDigest(digest);
    if (this.#ingests.has(digest)) throw new CridError("already-exists", `write blob ${digest}: another ingest is open`);
    const ingest = new Ingest({
      digest,
      size,
      file: join(this.root, "ingest", `${algorithm}-${hex}`),
      publish: (file) => this.#publish(digest, file, size),
      closed: () => this.#ingests.delete(digest),
    });
    this.#ingests.set(digest, ingest);
    try {
      await ingest.open();
    } catch (error) {
      this.#ingests.delete(digest);
      throw CridError.from(error, `write blob ${digest}`);
    }
    return ingest;
  }

  /** Begins to write something whose digest is not known before all of it has come. Dispose of it when it is not wanted. */
  async ingestUnnamed(options: { algorithm?: DigestAlgorithm } = {}): Promise<UnnamedIngest> {
    const ingest = new UnnamedIngest({
      file: join(this.root, "ingest", `${unnamedPrefix}${randomUUID()}`),
      algorithm: options.algorithm ?? "sha256",
      publish: (digest, file, size) => this.#publish(digest, file, size),
    });
    try {
      await ingest.open();
    } catch (error) {
      throw CridError.from(error, "write an unnamed blob");
    }
    return ingest;
  }

  /** Writes a small blob that is in memory. A no-op when it is there. */
  async put(digest: string, data: Buffer): Promise<void> {
    if ((await this.stat(digest)) !== undefined) return;
    await using ingest = await this.ingest({ digest, size: data.length });
    await ingest.restart();
    await ingest.write(data);
    await ingest.commit();
  }

  /** Idempotent. Its bytes are given back a little later, see `settled`. */
  async remove(digest: string): Promise<void> {
    const found = await this.stat(digest);
    if (found === undefined) return;
    await this.#trash.take(this.path(digest), { bytes: found.size, inodes: 1 });
    this.#counted(-found.size, -1);
  }

  /** Removes what a broken off ingest of the digest has left. A no-op while one is open. */
  async removePartial(digest: string): Promise<void> {
    const { algorithm, hex } = parseDigest(digest);
    if (!this.#ingests.has(digest)) await rm(join(this.root, "ingest", `${algorithm}-${hex}`), { force: true });
  }

  /** All whole blobs. */
  async *list(): AsyncGenerator<{ digest: string; size: number; modifiedMs: number }> {
    for (const algorithm of ["sha256", "sha512"]) {
      for await (const { name } of await opendir(join(this.root, "blobs", algorithm))) {
        const digest = `${algorithm}:${name}`;
        const found = isDigest(digest) ? await this.stat(digest) : undefined;
        if (found !== undefined) yield { digest, ...found };
      }
    }
  }

  /** Removes what broken off ingests have left and nobody has gone on with for this long. @returns how many */
  async removeStaleIngests(options: { olderThanMs: number }): Promise<number> {
    let removed = 0;
    for await (const { name } of await opendir(join(this.root, "ingest"))) {
      if (this.#ingests.has(name.replace("-", ":"))) continue;
      const file = join(this.root, "ingest", name);
      const mtimeMs = await modified(file);
      if (Date.now() - mtimeMs < options.olderThanMs || this.#ingests.has(name.replace("-", ":"))) continue;
      await rm(file, { force: true, recursive: true });
      removed++;
      this.#log.info({ ingest: name }, "removed a partial download that nobody went on with");
    }
    return removed;
  }

  /** What an earlier process wrote and had no name for yet, nobody can go on with. */
  async #sweepUnnamed(): Promise<void> {
    for await (const { name } of await opendir(join(this.root, "ingest")))
      if (name.startsWith(unnamedPrefix)) await rm(join(this.root, "ingest", name), { force: true });
  }

  async #publish(digest: string, file: string, size: number): Promise<void> {
    const target = this.path(digest);
    const before = await this.stat(digest);
    await rename(file, target);
    if (before === undefined) this.#counted(size, 1);
    else this.#counted(size - before.size, 0);
    await syncDirectory(join(this.root, "blobs", parseDigest(digest).algorithm));
  }

  #counted(bytes: number, count: number): void {
    this.#bytes += bytes;
    this.#count += count;
  }
}

/** Never, when the file has gone meanwhile. */
async function modified(file: string): Promise<number> {
  try {
    return (await stat(file)).mtimeMs;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return Number.POSITIVE_INFINITY;
    throw error;
  }
}
