import { type FileHandle, open } from "node:fs/promises";
import { CridError } from "../base/errors.ts";

/** How much of a blob is in its file, and whether that is all of it, with the digest that it should have. */
export interface BlobExtent {
  bytes: number;
  complete: boolean;
}

/** Where an unpack hears that more of its blob has come. */
export interface BlobGrowth {
  readonly extent: BlobExtent;
  /** Calls back from now on, until unsubscribed. */
  onGrowth(listener: (extent: BlobExtent) => void): Disposable;
}

/** Reads a blob front to back while it is still being downloaded: at the end of what is there it waits for more. */
export class GrowingBlob implements AsyncDisposable {
  readonly #handle: FileHandle;
  readonly #signal: AbortSignal;
  #extent: BlobExtent;
  #position = 0;
  #wake: (() => void) | undefined;
  #waitedMs = 0;

  private constructor(handle: FileHandle, extent: BlobExtent, signal: AbortSignal) {
    this.#handle = handle;
    this.#extent = extent;
    this.#signal = signal;
  }

  static async open(path: string, extent: BlobExtent, o: { signal: AbortSignal }): Promise<GrowingBlob> {
    return new GrowingBlob(await open(path, "r"), extent, o.signal);
  }

  /** Whether all of it was there the last time that anybody said so. */
  get complete(): boolean {
    return this.#extent.complete;
  }

  /** Milliseconds spent waiting for more to come. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  /** More has come. */
  grown(extent: BlobExtent): void {
    this.#extent = extent;
    this.#wake?.();
  }

  /** The first bytes, without moving on. Fewer than asked for only when the blob has no more. */
  async head(length: number): Promise<Buffer> {
    while (this.#extent.bytes < length && !this.#extent.complete) await this.#more();
    const head = Buffer.alloc(length);
    const { bytesRead } = await this.#handle.read(head, 0, length, 0);
    return head.subarray(0, bytesRead);
  }

  /** The last bytes, once all is there. */
  async tail(length: number): Promise<Buffer> {
    while (!this.#extent.complete) await this.#more();
    const tail = Buffer.alloc(length);
    await this.#handle.read(tail, 0, length, Math.max(0, this.#extent.bytes - length));
    return tail;
  }

  /** The next bytes into the buffer; answers how many, 0 at the end. @throws data-loss when the file is shorter than was said */
  async read(into: Buffer): Promise<number> {
    while (this.#position >= this.#extent.bytes) {
      if (this.#extent.complete) return 0;
      await this.#more();
    }
    this.#signal.throwIfAborted();
    const wanted = Math.min(into.length, this.#extent.bytes - this.#position);
    const { bytesRead } = await this.#handle.read(into, 0, wanted, this.#position);
    if (bytesRead === 0) throw new CridError("data-loss", `the blob has only ${this.#position} of ${this.#extent.bytes} bytes`);
    this.#position += bytesRead;
    return bytesRead;
  }

  /** Back to the start. */
  rewind(): void {
    this.#position = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  async #more(): Promise<void> {
    const signal = this.#signal;
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => reject(signal.reason);
    this.#wake = resolve;
    const started = performance.now();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#wake = undefined;
      this.#waitedMs += performance.now() - started;
    }
  }
}
