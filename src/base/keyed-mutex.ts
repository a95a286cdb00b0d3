/** A lock per key, first come first served. Keys that nobody holds cost nothing. */
export class KeyedMutex {
  readonly #tails = new Map<string, Promise<void>>();

  /**
   * Waits for the key's lock. Use with `using`: the lock is given back when the block ends.
   *
   * @throws the signal's reason when it aborts while waiting; the place in the queue is then given up without
   * disturbing those behind.
   */
  async acquire(key: string, options: { signal?: AbortSignal } = {}): Promise<Disposable> {
    const { signal } = options;
    signal?.throwIfAborted();
    const before = this.#tails.get(key);
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const tail = before === undefined ? released : before.then(() => released);
    this.#tails.set(key, tail);
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    if (before !== undefined) {
      try {
        await raceAbort(before, signal);
      } catch (error) {
        release();
        throw error;
      }
    }
    return { [Symbol.dispose]: release };
  }

  /** Whether someone holds or waits for the key. */
  isLocked(key: string): boolean {
    return this.#tails.has(key);
  }
}

/** Settles as `promise` does, or rejects with the signal's reason if it aborts first. The listener is always removed. */
export async function raceAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
