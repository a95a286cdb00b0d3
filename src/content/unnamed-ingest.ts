import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, readFile, rm } from "node:fs/promises";
import type { DigestAlgorithm } from "../base/digest.ts";
import { CridError, isErrno, spaceAdvice } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";

const bufferBytes = 512 * 1024;

/**
 * Something on its way in whose digest nobody knows yet: a file of an image archive. It is a blob only after `commit`; the order
 * of writes is that of `Ingest.commit`. One that is left behind by a crash is swept as a stale ingest.
 */
export class UnnamedIngest implements AsyncDisposable {
  readonly #file: string;
  readonly #algorithm: DigestAlgorithm;
  readonly #hash: Hash;
  readonly #publish: (digest: string, file: string, size: number) => Promise<void>;
  #handle: FileHandle | undefined;
  #buffered: Buffer[] = [];
  #bufferedBytes = 0;
  #size = 0;
  #digest: string | undefined;
  #gone = false;

  constructor(options: {
    file: string;
    algorithm: DigestAlgorithm;
    publish: (digest: string, file: string, size: number) => Promise<void>;
  }) {
    this.#file = options.file;
    this.#algorithm = options.algorithm;
    this.#publish = options.publish;
    this.#hash = createHash(options.algorithm);
  }

  /** Bytes so far. */
  get size(): number {
    return this.#size;
  }

  /** Known once finished. */
  get digest(): string {
    if (this.#digest === undefined) throw new CridError("internal", `${this.#file}: its digest is not known before all is written`);
    return this.#digest;
  }

  /** For ContentStore. */
  async open(): Promise<void> {
    this.#handle = await open(this.#file, "wx", 0o600);
  }

  /** Appends. Keeps the buffer: don't change it afterwards. @throws resource-exhausted when the disk is full */
  async write(chunk: Buffer): Promise<void> {
    this.#hash.update(chunk);
    this.#size += chunk.length;
    this.#buffered.push(chunk);
    this.#bufferedBytes += chunk.length;
    if (this.#bufferedBytes >= bufferBytes) await this.#flush();
  }

  /** All is written: the digest is known, and no file is open any more. */
  async finish(): Promise<void> {
    await this.#flush();
    this.#digest = `${this.#algorithm}:${this.#hash.digest("hex")}`;
    await this.#close();
  }

  /** What was written, once finished: small files such as manifests. @throws resource-exhausted when it is larger */
  async read(options: { maxBytes: number }): Promise<Buffer> {
    if (this.#size > options.maxBytes)
      throw new CridError("resource-exhausted", `it has ${this.#size} bytes, more than ${options.maxBytes}`);
    return readFile(this.#file);
  }

  /** Makes it the blob of its digest, for good. */
  async commit(): Promise<void> {
    try {
      {
        await using handle = await open(this.#file, "r");
        await failpoint("content.commit-unnamed.before-sync");
        await handle.sync();
      }
      await failpoint("content.commit-unnamed.before-rename");
      await this.#publish(this.digest, this.#file, this.#size);
      this.#gone = true;
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** Drops it, unless it was committed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#gone) return;
    this.#gone = true;
    await this.#close();
    await rm(this.#file, { force: true });
  }

  async #flush(): Promise<void> {
    const chunks = this.#buffered;
    if (chunks.length === 0) return;
    this.#buffered = [];
    this.#bufferedBytes = 0;
    try {
      // Not writev: it may write a part only, and these files are rarely big enough for the copy to matter.
      await this.#handle?.writeFile(chunks.length === 1 ? (chunks[0] ?? "") : Buffer.concat(chunks));
    } catch (error) {
      throw this.#failed(error);
    }
  }

  async #close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  #failed(error: unknown): CridError {
    if (!isErrno(error, "ENOSPC") && !isErrno(error, "EDQUOT")) return CridError.from(error, `write ${this.#file}`);
    return new CridError("resource-exhausted", `no space left for ${this.#file}: ${spaceAdvice}`, { cause: error });
  }
}
