import type { UnpackResult } from "../archive/unpack-job.ts";
import type { PullTotals } from "../records/pull-totals.ts";
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
  #cachedBlobs = 0;
  #interruptions = 0;
  #resolveMs = 0;
  #downloadMs = 0;
  #inflateMs = 0;
  #writeMs = 0;
  #syncMs = 0;

  constructor(ref: string) {
    this.ref = ref;
  }

  /** Since the pull began. */
  get ms(): number {
    return Math.round(performance.now() - this.#started);
  }

  add({ digest, size }: Descriptor): void {
    if (!this.#items.has(digest)) this.#items.set(digest, { state: "waiting", size, source: undefined, startedAt: 0 });
  }

  cached({ digest, size }: Descriptor): void {
    if (this.#items.get(digest)?.state === "waiting") {
      this.#cachedBytes += size;
      this.#cachedBlobs++;
    }
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
    this.#inflateMs += result.inflateMs;
    this.#writeMs += result.writeMs;
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

  /** What it has done so far. Times of blobs and layers are summed; they run side by side, each layer's unpacking beside its download. */
  totals(): PullTotals {
    return {
      ms: this.ms,
      downloadedBytes: this.#downloadedBytes,
      resumedBytes: this.#resumedBytes,
      cachedBytes: this.#cachedBytes,
      cachedBlobs: this.#cachedBlobs,
      interruptions: this.#interruptions,
      resolveMs: this.#resolveMs,
      downloadMs: Math.round(this.#downloadMs),
      inflateMs: Math.round(this.#inflateMs),
      writeMs: Math.round(this.#writeMs),
      syncMs: Math.round(this.#syncMs),
    };
  }

  /** For the line that the log has of each pull. */
  summary(): PullTotals & { endpoints: string[] } {
    return { endpoints: [...this.#endpoints], ...this.totals() };
  }

  #set(digest: string, state: BlobState, source?: { readonly offset: number }): void {
    const item = this.#items.get(digest);
    if (item === undefined) return;
    item.state = state;
    if (source !== undefined) item.source = source;
  }
}
