import type { BlobExtent, BlobGrowth } from "../archive/growing-blob.ts";
import { CridError, isErrno, isKind } from "../base/errors.ts";
import type { Ingest, IngestFollower } from "../content/ingest.ts";

/** What was being read has been dropped: the download began anew. */
export class BlobLost extends CridError {
  constructor() {
    super("aborted", "the download began anew");
  }
}

export interface FollowedRead {
  /** A path of the blob, as far as it is there. */
  file: string;
  growth: BlobGrowth;
  /** Aborts also when the blob is lost. */
  signal: AbortSignal;
}

/**
 * Reads a blob while it is being downloaded. What is read is not known to be the blob before the download is over, so
 * neither a result nor an error counts before that.
 */
export class FollowedBlob implements AsyncDisposable {
  readonly #follower: IngestFollower;
  readonly #here: Promise<void>;
  readonly #signal: AbortSignal;
  readonly #lost = new AbortController();
  readonly #listeners = new Set<(extent: BlobExtent) => void>();
  readonly #subscription: Disposable;
  #extent: BlobExtent;

  private constructor(follower: IngestFollower, here: Promise<void>, size: number, signal: AbortSignal) {
    this.#follower = follower;
    this.#here = here;
    this.#signal = signal;
    this.#extent = follower.extent;
    this.#subscription = follower.onGrowth((growth) => {
      if (growth.kind === "lost") this.#lost.abort(new BlobLost());
      else this.#grown(growth);
    });
    here.then(
      () => this.#grown({ bytes: size, complete: true }),
      (error: unknown) => this.#lost.abort(error),
    );
  }

  /** Undefined when it has just got its name, or was dropped. @param here settles when the blob is in the store */
  static async open(ingest: Ingest, here: Promise<void>, o: { signal: AbortSignal }): Promise<FollowedBlob | undefined> {
    try {
      return new FollowedBlob(await ingest.follow(), here, ingest.size, o.signal);
    } catch (error) {
      if (isErrno(error, "ENOENT")) return undefined;
      throw error;
    }
  }

  /** @throws BlobLost when it has to be read anew, from the store; what the download throws; what `read` throws */
  async read<T>(read: (o: FollowedRead) => Promise<T>): Promise<T> {
    const growth: BlobGrowth = {
      extent: this.#extent,
      onGrowth: (listener) => {
        this.#listeners.add(listener);
        listener(this.#extent);
        return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
      },
    };
    const signal = AbortSignal.any([this.#signal, this.#lost.signal]);
    let result: T;
    try {
      result = await read({ file: this.#follower.path, growth, signal });
    } catch (error) {
      this.#signal.throwIfAborted();
      // The layer cannot have the form that it was given: that is no fault, and the next try reads what is there.
      if (isKind(error, "failed-precondition")) throw error;
      // Damaged, or a lie that the download is about to find out.
      await this.#here;
      throw this.#lost.signal.aborted ? new BlobLost() : error;
    }
    await this.#here;
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscription[Symbol.dispose]();
    await this.#follower[Symbol.asyncDispose]();
  }

  #grown(extent: BlobExtent): void {
    if (extent.bytes < this.#extent.bytes || this.#extent.complete) return;
    this.#extent = extent;
    for (const listener of this.#listeners) listener(extent);
  }
}
