import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import { parseDigest } from "../base/digest.ts";
import { CridError, isErrno, spaceAdvice } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";

/** Collect this much before a write: a write through the thread pool costs as much as 100 KiB of data. */
const bufferBytes = 256 * 1024;
const spareBuffers: Buffer[] = [];
const maxSpareBuffers = 4;
const rereadBytes = 256 * 1024;

/** What becomes of the file of an ingest. */
export type IngestGrowth =
  | { kind: "grown"; bytes: number; complete: boolean }
  /** What was there is gone, or will not be completed. */
  | { kind: "lost" };

/** Somebody who reads a blob while it is being written. Whoever disposes of it has read enough. */
export interface IngestFollower extends AsyncDisposable {
  /** Can be opened as long as this is not disposed of, whatever becomes of the ingest. */
  readonly path: string;
  /** What is there now. */
  readonly extent: { bytes: number; complete: boolean };
  onGrowth(listener: (growth: IngestGrowth) => void): Disposable;
}

/**
 * One blob on its way in. The digest is computed while writing; what an earlier process has left is read again for it, as a
 * hash's state cannot be kept on disk.
 *
 * Order of writes in `commit`, each step only after the one before:
 * 1. all bytes written, size and digest equal to the descriptor's (else the file is removed);
 * 2. fsync of the file;
 * 3. rename from `ingest/` to `blobs/`;
 * 4. fsync of `blobs/<algorithm>`.
 * A crash before 3 leaves a partial ingest, which the next pull goes on with; after 3, the whole blob. The name never stands for
 * other content. Only after 4 does anyone write down that the blob is there.
 */
export class Ingest implements AsyncDisposable {
  readonly digest: string;
  readonly size: number;
  readonly #file: string;
  readonly #publish: (file: string) => Promise<void>;
  readonly #closed: () => void;
  #handle: FileHandle | undefined;
  #hash: Hash;
  #written = 0;
  /**
   * What was not written yet. Copied from the chunks that come: these are then dead at once, and not kept over two rounds of the
   * garbage collector, which would count them to what it rarely looks at.
   */
  #buffer: Buffer | undefined;
  #bufferedBytes = 0;
  #verified = false;
  /** Verified and written, if not synced. */
  #complete = false;
  readonly #followers = new Set<(growth: IngestGrowth) => void>();

  constructor(options: { digest: string; size: number; file: string; publish: (file: string) => Promise<void>; closed: () => void }) {
    this.digest = options.digest;
    this.size = options.size;
    this.#file = options.file;
    this.#publish = options.publish;
    this.#closed = options.closed;
    this.#hash = createHash(parseDigest(options.digest).algorithm);
  }

  /** Bytes that are there, those of an earlier ingest included. */
  get offset(): number {
    return this.#written + this.#bufferedBytes;
  }

  /** Opens the file and reads what is in it. For ContentStore. */
  async open(): Promise<void> {
    // 0o600: layers hold setuid programs and secrets; nobody but the daemon needs the blobs.
    const handle = await open(this.#file, "a+", 0o600);
    this.#handle = handle;
    try {
      const { size } = await handle.stat();
      if (size > this.size) await handle.truncate(0);
      else await this.#reread(handle, size);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Lets somebody read what comes while it comes. Unverified: only after `commit` is it known to be the blob. */
  async follow(): Promise<IngestFollower> {
    const handle = await open(this.#file, "r");
    const ingest = this;
    return {
      path: `/proc/self/fd/${handle.fd}`,
      get extent() {
        return { bytes: ingest.#written, complete: ingest.#complete };
      },
      onGrowth: (listener) => {
        this.#followers.add(listener);
        return { [Symbol.dispose]: () => void this.#followers.delete(listener) };
      },
      [Symbol.asyncDispose]: () => handle.close(),
    };
  }

  /**
   * Appends. The chunk may be used again when this returns.
   * @throws data-loss when this is more than the size; resource-exhausted when the disk is full: what came so far is then
   * removed, for the node needs the room more than we need the start
   */
  async write(chunk: Buffer): Promise<void> {
    if (this.offset + chunk.length > this.size)
      throw new CridError("data-loss", `write blob ${this.digest}: more than its ${this.size} bytes`);
    this.#verified = false;
    this.#hash.update(chunk);
    for (let at = 0; at < chunk.length; ) {
      this.#buffer ??= spareBuffers.pop() ?? Buffer.allocUnsafeSlow(bufferBytes);
      const taken = chunk.copy(this.#buffer, this.#bufferedBytes, at);
      this.#bufferedBytes += taken;
      at += taken;
      if (this.#bufferedBytes === bufferBytes) await this.#flush();
    }
  }

  /** Drops what is there and begins anew. */
  async restart(): Promise<void> {
    this.#hash = createHash(parseDigest(this.digest).algorithm);
    this.#written = 0;
    this.#bufferedBytes = 0;
    this.#verified = false;
    this.#tell({ kind: "lost" });
    await this.#open.truncate(0);
  }

  /** Whether all is there and has the digest. The hash is finished by this: after a `false`, only `restart` or `abort`. */
  async verify(): Promise<boolean> {
    if (this.offset !== this.size) return false;
    if (!this.#verified) this.#verified = this.#hash.copy().digest("hex") === parseDigest(this.digest).hex;
    return this.#verified;
  }

  /**
   * Makes the blob visible, for good.
   * @throws data-loss when size or digest are not those of the descriptor; nothing is kept then. resource-exhausted when the
   * disk is full.
   */
  async commit(): Promise<void> {
    if (!(await this.verify())) {
      const why = this.offset === this.size ? "its content has another digest" : `has ${this.offset} of ${this.size} bytes`;
      await this.abort();
      throw new CridError("data-loss", `write blob ${this.digest}: ${why}`);
    }
    try {
      await this.#flush();
      this.#complete = true;
      this.#tell({ kind: "grown", bytes: this.size, complete: true });
      await failpoint("content.commit.before-sync");
      await this.#open.sync();
      await this.#close();
      await failpoint("content.commit.before-rename");
      await this.#publish(this.#file);
      await failpoint("content.commit.after-rename");
    } catch (error) {
      throw await this.#failed(error);
    }
  }

  /** Drops everything. Idempotent; a no-op after commit. */
  async abort(): Promise<void> {
    if (this.#handle === undefined) return;
    this.#tell({ kind: "lost" });
    await this.#close();
    await rm(this.#file, { force: true });
  }

  /** Keeps what has come, for the next ingest of this digest. A no-op after commit and abort. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#handle === undefined) return;
    if (this.offset === 0) return this.abort();
    this.#tell({ kind: "lost" });
    try {
      await this.#flush();
    } finally {
      await this.#close();
    }
  }

  get #open(): FileHandle {
    if (this.#handle === undefined) throw new CridError("internal", `write blob ${this.digest}: the ingest is closed`);
    return this.#handle;
  }

  #tell(growth: IngestGrowth): void {
    for (const listener of this.#followers) listener(growth);
  }

  async #flush(): Promise<void> {
    const bytes = this.#bufferedBytes;
    const buffer = this.#buffer;
    if (bytes === 0 || buffer === undefined) return;
    try {
      for (let done = 0; done < bytes; ) {
        const { bytesWritten } = await this.#open.write(buffer, done, bytes - done);
        this.#written += bytesWritten;
        this.#bufferedBytes -= bytesWritten;
        done += bytesWritten;
      }
      this.#tell({ kind: "grown", bytes: this.#written, complete: false });
    } catch (error) {
      // What was not written is lost; what was, the next ingest of the blob goes on with.
      this.#bufferedBytes = 0;
      throw await this.#failed(error);
    }
  }

  async #reread(handle: FileHandle, size: number): Promise<void> {
    const buffer = Buffer.allocUnsafe(rereadBytes);
    while (this.#written < size) {
      const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, size - this.#written), this.#written);
      if (bytesRead === 0) break;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#written += bytesRead;
    }
  }

  async #failed(error: unknown): Promise<CridError> {
    if (isErrno(error, "ENOSPC") || isErrno(error, "EDQUOT")) {
      await this.abort();
      const where = `write blob ${this.digest} (${this.size} bytes): no space left for ${this.#file}`;
      return new CridError("resource-exhausted", `${where}: ${spaceAdvice}`, { cause: error });
    }
    return CridError.from(error, `write blob ${this.digest}`);
  }

  async #close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    if (this.#buffer !== undefined && spareBuffers.length < maxSpareBuffers) spareBuffers.push(this.#buffer);
    this.#buffer = undefined;
    this.#closed();
    await handle?.close();
  }
}
