import { CridError } from "./errors.ts";
import { raceAbort } from "./keyed-mutex.ts";

interface Call<T> {
  promise: Promise<T>;
  controller: AbortController;
  waiters: number;
  abandoned: NodeJS.Timeout | undefined;
}

/**
 * Calls by key where a duplicate of a running one joins it and gets its result. A caller that goes away (its deadline passed)
 * does not end the work: the kubelet asks again under the same name, and would find it half done over and over on a slow disk
 * (facts: "name is reserved"). Only when nobody has waited for `graceMs` is it told to stop, and then undoes itself.
 */
export class JoinedCalls<T> {
  readonly #calls = new Map<string, Call<T>>();
  readonly #graceMs: number;

  constructor(options: { graceMs: number }) {
    this.#graceMs = options.graceMs;
  }

  /** How many run. */
  get size(): number {
    return this.#calls.size;
  }

  /**
   * Starts `work`, or joins the one that runs under the key.
   *
   * @throws what the work throws, or the signal's reason when it aborts first
   */
  async run(key: string, work: (options: { signal: AbortSignal }) => Promise<T>, options: { signal: AbortSignal }): Promise<T> {
    options.signal.throwIfAborted();
    const call = this.#calls.get(key) ?? this.#start(key, work);
    call.waiters++;
    clearTimeout(call.abandoned);
    try {
      return await raceAbort(call.promise, options.signal);
    } finally {
      call.waiters--;
      if (call.waiters === 0 && this.#calls.get(key) === call) {
        call.abandoned = setTimeout(() => {
          call.controller.abort(new CridError("canceled", `nobody has waited for it for ${this.#graceMs} ms`));
        }, this.#graceMs);
      }
    }
  }

  /** Tells all running work to stop, and waits until it has undone itself. */
  async close(reason: unknown): Promise<void> {
    const calls = [...this.#calls.values()];
    for (const call of calls) call.controller.abort(reason);
    await Promise.allSettled(calls.map((call) => call.promise));
  }

  #start(key: string, work: (options: { signal: AbortSignal }) => Promise<T>): Call<T> {
    const controller = new AbortController();
    const call: Call<T> = { promise: work({ signal: controller.signal }), controller, waiters: 0, abandoned: undefined };
    this.#calls.set(key, call);
    const settled = (): void => {
      clearTimeout(call.abandoned);
      this.#calls.delete(key);
    };
    call.promise.then(settled, settled);
    return call;
  }
}
