import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { CridError, type ErrorKind } from "../base/errors.ts";
import type { UnpackJob, UnpackResult } from "./unpack-job.ts";

/** What the worker answers. Errors cross the thread as kind and text, since a class does not survive the copy. */
export type UnpackAnswer = { ok: true; result: UnpackResult } | { ok: false; kind: ErrorKind; message: string };

const workerUrl = new URL(import.meta.url.endsWith(".ts") ? "./unpack.worker.ts" : "./unpack.worker.mjs", import.meta.url);
/** A worker costs about 8 MB; keep it over the layers of one pull and a little longer. */
const idleMs = 10_000;

interface Waiting {
  job: UnpackJob;
  signal: AbortSignal;
  resolve: (result: UnpackResult) => void;
  reject: (error: unknown) => void;
}

/** Unpacks layers in worker threads, one layer a thread; further ones wait in line. */
export class LayerUnpacker implements AsyncDisposable {
  readonly #threads: number;
  readonly #idle: { worker: Worker; timer: NodeJS.Timeout }[] = [];
  readonly #queue: Waiting[] = [];
  #busy = 0;
  #closed = false;

  constructor(options: { threads?: number } = {}) {
    this.#threads = options.threads ?? Math.max(2, Math.min(8, availableParallelism()));
  }

  /**
   * Unpacks one layer. The target holds half a layer when this throws: drop it.
   *
   * @throws invalid-argument when the layer is malformed, over a limit, or has another diff id; resource-exhausted when the
   * disk is full; the signal's reason when aborted
   */
  unpack(job: UnpackJob, options: { signal: AbortSignal }): Promise<UnpackResult> {
    if (this.#closed) return Promise.reject(new CridError("unavailable", "unpack layer: shutting down"));
    const { promise, resolve, reject } = Promise.withResolvers<UnpackResult>();
    this.#queue.push({ job, signal: options.signal, resolve, reject });
    this.#next();
    return promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const waiting of this.#queue.splice(0)) waiting.reject(new CridError("unavailable", "unpack layer: shutting down"));
    await Promise.all(
      this.#idle.splice(0).map(({ worker, timer }) => {
        clearTimeout(timer);
        return worker.terminate();
      }),
    );
  }

  #next(): void {
    while (this.#busy < this.#threads) {
      const waiting = this.#queue.shift();
      if (waiting === undefined) return;
      if (waiting.signal.aborted) {
        waiting.reject(waiting.signal.reason);
        continue;
      }
      this.#run(waiting);
    }
  }

  #run({ job, signal, resolve, reject }: Waiting): void {
    this.#busy++;
    const worker = this.#take();
    const settle = (reuse: boolean, done: () => void): void => {
      worker.off("message", onMessage);
      worker.off("error", onError);
      worker.off("exit", onExit);
      signal.removeEventListener("abort", onAbort);
      this.#busy--;
      if (reuse && !this.#closed) this.#park(worker);
      else void worker.terminate();
      done();
      this.#next();
    };
    const onMessage = (answer: UnpackAnswer): void =>
      settle(true, () => (answer.ok ? resolve(answer.result) : reject(new CridError(answer.kind, answer.message))));
    const onError = (error: unknown): void => settle(false, () => reject(CridError.from(error, "unpack layer")));
    const onExit = (): void => settle(false, () => reject(new CridError("internal", "unpack layer: the worker ended")));
    // The thread is inside system calls and cannot be asked to stop: it is ended, and its half a layer dropped by the caller.
    const onAbort = (): void => settle(false, () => reject(signal.reason));
    worker.on("message", onMessage);
    worker.on("error", onError);
    worker.on("exit", onExit);
    signal.addEventListener("abort", onAbort, { once: true });
    worker.postMessage(job);
  }

  #take(): Worker {
    const parked = this.#idle.pop();
    if (parked !== undefined) {
      clearTimeout(parked.timer);
      parked.worker.ref();
      return parked.worker;
    }
    return new Worker(workerUrl, { name: "crid-unpack", resourceLimits: { maxOldGenerationSizeMb: 512 } });
  }

  #park(worker: Worker): void {
    const timer = setTimeout(() => {
      const at = this.#idle.findIndex((parked) => parked.worker === worker);
      if (at >= 0) this.#idle.splice(at, 1);
      void worker.terminate();
    }, idleMs).unref();
    worker.unref();
    this.#idle.push({ worker, timer });
  }
}
