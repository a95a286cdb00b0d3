import { availableParallelism } from "node:os";
import { CridError } from "../base/errors.ts";
import type { BlobGrowth } from "./growing-blob.ts";
import type { GunzipProgram } from "./native-gunzip.ts";
import type { UnpackJob, UnpackResult } from "./unpack-job.ts";
import { type Task, UnpackThread } from "./unpack-thread.ts";

/** A thread costs about 10 MB, and 100 ms to start and to compile its code: pods come in crowds, and their images with them. */
const defaultIdleMs = 60_000;
/** Jobs that a thread has at a time, by turns: those whose blob is still coming wait most of the time. */
const jobsPerThread = 4;

export interface LayerUnpackerOptions {
  /** Default: one for each core, at most 8. */
  threads?: number;
  /** "auto": igzip or unpigz from the PATH where they are faster; "builtin": never. */
  gunzip?: "auto" | "builtin";
  /** How long a thread without work is kept. */
  idleMs?: number;
}

/** Unpacks layers in worker threads. */
export class LayerUnpacker implements AsyncDisposable {
  readonly #threads: number;
  readonly #idleMs: number;
  readonly #pool = new Set<UnpackThread>();
  readonly #ending = new Set<Promise<void>>();
  readonly #queue: Task[] = [];
  #gunzip: Promise<GunzipProgram | undefined> | undefined;
  #idle: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: LayerUnpackerOptions = {}) {
    this.#threads = options.threads ?? Math.max(2, Math.min(8, availableParallelism()));
    this.#idleMs = options.idleMs ?? defaultIdleMs;
    if (options.gunzip === "builtin") this.#gunzip = Promise.resolve(undefined);
  }

  /** A layer is on its way: starts what takes its time to start. */
  warm(): void {
    if (this.#closed) return;
    void this.#probe();
    if (this.#pool.size < this.#threads) this.#add();
    this.#retire();
  }

  /**
   * Unpacks one layer. The target holds half a layer when this throws, and nobody writes to it any more: drop it.
   *
   * @param options.growth when the blob is still being downloaded
   * @throws invalid-argument when the layer is malformed, over a limit, or has another diff id; resource-exhausted when the
   * disk is full; the signal's reason when aborted
   */
  async unpack(job: UnpackJob, options: { growth?: BlobGrowth; signal: AbortSignal }): Promise<UnpackResult> {
    const gunzip = await this.#probe();
    options.signal.throwIfAborted();
    if (this.#closed) throw new CridError("unavailable", "unpack layer: shutting down");
    const { promise, resolve, reject } = Promise.withResolvers<UnpackResult>();
    this.#queue.push({ job, gunzip, growth: options.growth, signal: options.signal, resolve, reject });
    this.#next();
    return promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#idle);
    for (const { reject } of this.#queue.splice(0)) reject(new CridError("unavailable", "unpack layer: shutting down"));
    for (const thread of this.#pool) this.#end(thread);
    await Promise.all(this.#ending);
  }

  /** Out of the pool at once: a job that a thread gets while it ends would fail. */
  #end(thread: UnpackThread): void {
    this.#pool.delete(thread);
    const ending = thread.terminate().finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }

  #next(): void {
    while (this.#queue.length > 0) {
      const thread = this.#freest();
      const task = thread === undefined ? undefined : this.#queue.shift();
      if (thread === undefined || task === undefined) break;
      if (task.signal.aborted) task.reject(task.signal.reason);
      else thread.run(task);
    }
    this.#retire();
  }

  /** The thread with the least to do, a new one before a busy one. */
  #freest(): UnpackThread | undefined {
    let best: UnpackThread | undefined;
    for (const thread of this.#pool) if (best === undefined || thread.jobs < best.jobs) best = thread;
    if ((best === undefined || best.jobs > 0) && this.#pool.size < this.#threads) return this.#add();
    return best !== undefined && best.jobs < jobsPerThread ? best : undefined;
  }

  #add(): UnpackThread {
    const thread = new UnpackThread({
      onIdle: () => this.#next(),
      onEnd: () => {
        this.#pool.delete(thread);
        if (!this.#closed) this.#next();
      },
    });
    this.#pool.add(thread);
    return thread;
  }

  /** Asked once, of a thread: it takes a tenth of a second. */
  #probe(): Promise<GunzipProgram | undefined> {
    this.#gunzip ??= (this.#freest() ?? this.#add()).probe().catch(() => undefined);
    return this.#gunzip;
  }

  /** Ends threads that have had nothing to do for a while. */
  #retire(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      for (const thread of this.#pool) if (!thread.busy) this.#end(thread);
    }, this.#idleMs).unref();
  }
}
