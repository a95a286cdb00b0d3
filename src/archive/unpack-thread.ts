import { Worker } from "node:worker_threads";
import { CridError, isErrno } from "../base/errors.ts";
import type { BlobGrowth } from "./growing-blob.ts";
import type { GunzipProgram } from "./native-gunzip.ts";
import type { UnpackJob, UnpackResult } from "./unpack-job.ts";
import type { UnpackAnswer, UnpackRequest } from "./unpack-messages.ts";

const workerUrl = new URL(import.meta.url.endsWith(".ts") ? "./unpack.worker.ts" : "./unpack.worker.mjs", import.meta.url);

/** The young generation is small on purpose: buffers that it holds on to are not counted, and lie around until it is full. */
const resourceLimits = { maxOldGenerationSizeMb: 512, maxYoungGenerationSizeMb: 2 };

/** One layer to be unpacked, and who waits for it. */
export interface Task {
  job: UnpackJob;
  gunzip: GunzipProgram | undefined;
  growth: BlobGrowth | undefined;
  signal: AbortSignal;
  resolve: (result: UnpackResult) => void;
  reject: (error: unknown) => void;
}

interface Running {
  task: Task;
  /** Listeners that end with the job. */
  listeners: DisposableStack;
}

/** A worker thread that unpacks several layers by turns. */
export class UnpackThread {
  readonly #worker: Worker;
  readonly #running = new Map<number, Running>();
  readonly #onIdle: () => void;
  #lastId = 0;
  #probing: PromiseWithResolvers<GunzipProgram | undefined> | undefined;

  /** @param options.onIdle it can take a job more · @param options.onEnd it is gone, and its jobs have failed */
  constructor(options: { onIdle: () => void; onEnd: () => void }) {
    this.#onIdle = options.onIdle;
    this.#worker = new Worker(workerUrl, { name: "crid-unpack", resourceLimits });
    this.#worker.unref();
    let why: unknown = new CridError("unavailable", "unpack layer: the thread was ended");
    this.#worker.on("error", (error) => {
      why = threadError(error);
    });
    this.#worker.on("exit", () => {
      this.#probing?.reject(why);
      for (const id of [...this.#running.keys()]) this.#settle(id, ({ reject }) => reject(why));
      options.onEnd();
    });
    this.#worker.on("message", (answer: UnpackAnswer) => this.#answered(answer));
  }

  get jobs(): number {
    return this.#running.size;
  }

  /** Whether somebody waits for it. */
  get busy(): boolean {
    return this.#running.size > 0 || this.#probing !== undefined;
  }

  run(task: Task): void {
    const id = ++this.#lastId;
    const { growth, signal } = task;
    const listeners = new DisposableStack();
    this.#running.set(id, { task, listeners });
    this.#refer();
    const job = growth === undefined ? task.job : { ...task.job, extent: growth.extent };
    this.#send({ do: "unpack", id, job, gunzip: task.gunzip });
    if (growth !== undefined) listeners.use(growth.onGrowth((extent) => this.#send({ do: "grown", id, extent })));
    const onAbort = (): void => this.#send({ do: "abort", id });
    signal.addEventListener("abort", onAbort, { once: true });
    listeners.defer(() => signal.removeEventListener("abort", onAbort));
  }

  probe(): Promise<GunzipProgram | undefined> {
    this.#probing = Promise.withResolvers();
    this.#refer();
    this.#send({ do: "probe" });
    return this.#probing.promise;
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  #send(request: UnpackRequest): void {
    this.#worker.postMessage(request);
  }

  /** The process stays for work, not for an idle thread. */
  #refer(): void {
    if (this.busy) this.#worker.ref();
    else this.#worker.unref();
  }

  #answered(answer: UnpackAnswer): void {
    switch (answer.say) {
      case "probed":
        this.#probing?.resolve(answer.program);
        this.#probing = undefined;
        return this.#refer();
      case "unpacked":
        return this.#settle(answer.id, ({ resolve }) => resolve(answer.result));
      case "failed":
        return this.#settle(answer.id, ({ reject, signal }) =>
          reject(signal.aborted ? signal.reason : new CridError(answer.kind, answer.message)),
        );
    }
  }

  #settle(id: number, how: (task: Task) => void): void {
    const running = this.#running.get(id);
    if (running === undefined) return;
    this.#running.delete(id);
    running.listeners.dispose();
    this.#refer();
    how(running.task);
    this.#onIdle();
  }
}

function threadError(error: unknown): CridError {
  if (isErrno(error, "ERR_WORKER_OUT_OF_MEMORY")) {
    return new CridError("resource-exhausted", "unpack layer: it has too many files for the memory of one thread", { cause: error });
  }
  return CridError.from(error, "unpack layer");
}
