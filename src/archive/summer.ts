import { Worker } from "node:worker_threads";
import { CridError } from "../base/errors.ts";
import { KeyedMutex, raceAbort } from "../base/keyed-mutex.ts";
import type { SumJob } from "./sum.ts";

/** `lost`: it is not there, or the disk cannot read it. */
export type SumAnswer = { sum: string } | { error: string; lost: boolean };

const workerUrl = new URL(import.meta.url.endsWith(".ts") ? "./sum.worker.ts" : "./sum.worker.mjs", import.meta.url);
const resourceLimits = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 2 };
const idleMs = 5_000;

/**
 * Reads files and trees and sums them, in a thread of its own that stands behind everybody else for processor and disk. One at a time.
 * The thread is there while there is something to do.
 */
export class Summer implements AsyncDisposable {
  readonly #bytesPerSecond: number;
  readonly #turn = new KeyedMutex();
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;

  /** @param options.bytesPerSecond at most; 0 = as fast as the disk gives it */
  constructor(options: { bytesPerSecond: number }) {
    this.#bytesPerSecond = options.bytesPerSecond;
  }

  /**
   * The sum; undefined when the file is not there or cannot be read from the disk.
   * @throws the signal's reason; what else the file system says
   */
  async sum(job: SumJob, o: { signal: AbortSignal }): Promise<string | undefined> {
    using _ = await this.#turn.acquire("turn", o);
    const worker = this.#start();
    const { promise, resolve, reject } = Promise.withResolvers<SumAnswer>();
    const onExit = (): void => reject(new CridError("unavailable", `sum of ${job.path}: the thread was ended`));
    worker.once("message", resolve);
    worker.once("error", reject);
    worker.once("exit", onExit);
    worker.ref();
    try {
      worker.postMessage(job);
      const answer = await raceAbort(promise, o.signal);
      if ("sum" in answer) return answer.sum;
      if (answer.lost) return undefined;
      throw new CridError("internal", `sum of ${job.path}: ${answer.error}`);
    } catch (error) {
      // It reads on in its loop: nothing but its end stops it.
      promise.catch(() => undefined);
      await this.#end();
      throw error;
    } finally {
      worker.removeListener("message", resolve).removeListener("error", reject).removeListener("exit", onExit);
      worker.unref();
      this.#idle = setTimeout(() => void this.#end(), idleMs).unref();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }

  #start(): Worker {
    clearTimeout(this.#idle);
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(workerUrl, { name: "crid-sum", workerData: { bytesPerSecond: this.#bytesPerSecond }, resourceLimits });
    // An error without a job has nobody to tell.
    worker.on("error", () => undefined);
    worker.once("exit", () => {
      if (this.#worker === worker) this.#worker = undefined;
    });
    this.#worker = worker;
    return worker;
  }

  async #end(): Promise<void> {
    clearTimeout(this.#idle);
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }
}
