import type { UnpackResult } from "../archive/unpack-job.ts";
import type { Descriptor } from "../registry/descriptor.ts";
import type { DownloadResult } from "../registry/download.ts";

export type BlobState = "waiting" | "downloading" | "downloaded" | "unpacking" | "done";

/** One blob of a pull, for people who wait. */
export interface BlobProgress {
  digest: string;
  state: BlobState;
  /** Bytes here, of `size`. */
  bytes: number;
  size: number;
}

/** A pull, as verbose status and `crid images pull` show it. */
export interface PullReport {
  ref: string;
  startedAtMs: number;
  blobs: BlobProgress[];
}

interface Item {
  state: BlobState;
  size: number;
  source: { readonly offset: number } | undefined;
  /** performance.now() when its download began. */
  startedAt: number;
}

/** What a pull does, and what it has cost. A blob that another pull fetches is shown as waiting until it is there. */
export class PullProgress {
  readonly ref: string;
  readonly #startedAtMs = Date.now();
  readonly #started = performance.now();
  readonly #items = new Map<string, Item>();
  readonly #endpoints = new Set<string>();
  #downloadedBytes = 0;
  #resumedBytes = 0;
  #cachedBytes = 0;
  #interruptions = 0;
  #resolveMs = 0;
  #downloadMs = 0;
  #unpackMs = 0;
  #syncMs = 0;

  constructor(ref: string) {
    this.ref = ref;
  }

  /** Since the pull began. */
  get ms(): number {
    return Math.round(performance.now() - this.#started);
  }

  get downloadedBytes(): number {
    return this.#downloadedBytes;
  }

  add({ digest, size }: Descriptor): void {
    if (!this.#items.has(digest)) this.#items.set(digest, { state: "waiting", size, source: undefined, startedAt: 0 });
  }

  cached({ digest, size }: Descriptor): void {
    if (this.#items.get(digest)?.state === "waiting") this.#cachedBytes += size;
    this.#set(digest, "done");
  }

  /** It is known what the reference stands for. */
  resolved(): void {
    this.#resolveMs = this.ms;
  }

  started({ digest }: Descriptor, source: { readonly offset: number }): void {
    this.#set(digest, "downloading", source);
    const item = this.#items.get(digest);
    if (item !== undefined) item.startedAt = performance.now();
  }

  downloaded({ digest, size }: Descriptor, result: DownloadResult): void {
    this.#downloadedBytes += size - result.resumedFrom;
    this.#resumedBytes += result.resumedFrom;
    this.#interruptions += result.interruptions;
    this.#endpoints.add(result.endpoint);
    const item = this.#items.get(digest);
    if (item !== undefined && item.startedAt > 0) this.#downloadMs += performance.now() - item.startedAt;
    this.#set(digest, "downloaded");
  }

  done({ digest }: Descriptor): void {
    this.#set(digest, "done");
  }

  unpacking({ digest }: Descriptor): void {
    this.#set(digest, "unpacking");
  }

  unpacked(result: UnpackResult): void {
    this.#unpackMs += result.unpackMs;
    this.#syncMs += result.syncMs;
  }

  report(): PullReport {
    const blobs = [...this.#items].map(([digest, { state, size, source }]) => ({
      digest,
      state,
      size,
      bytes: state === "waiting" ? 0 : state === "downloading" ? (source?.offset ?? 0) : size,
    }));
    return { ref: this.ref, startedAtMs: this.#startedAtMs, blobs };
  }

  /** For the line that the log has of each pull. Times of blobs and layers are summed; they run side by side, each layer's unpacking beside its download. */
  summary(): Record<string, unknown> {
    return {
      ms: this.ms,
      endpoints: [...this.#endpoints],
      downloadedBytes: this.#downloadedBytes,
      resumedBytes: this.#resumedBytes,
      cachedBytes: this.#cachedBytes,
      interruptions: this.#interruptions,
      resolveMs: this.#resolveMs,
      downloadMs: Math.round(this.#downloadMs),
      unpackMs: Math.round(this.#unpackMs),
      syncMs: Math.round(this.#syncMs),
    };
  }

  #set(digest: string, state: BlobState, source?: { readonly offset: number }): void {
    const item = this.#items.get(digest);
    if (item === undefined) return;
    item.state = state;
    if (source !== undefined) item.source = source;
  }
}
