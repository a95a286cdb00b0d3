import { raceAbort } from "./keyed-mutex.ts";

/**
 * Many may be inside at a time; whoever closes it waits until all have left and keeps others out until done. For work that must
 * not run beside any of a kind of other work (a CNI GC beside an ADD).
 */
export class Gate {
  #inside = 0;
  #closed: Promise<void> | undefined;
  #empty: PromiseWithResolvers<void> | undefined;

  /** Waits while it is closed. Leave by disposing. @throws the signal's reason */
  async enter(options: { signal: AbortSignal }): Promise<Disposable> {
    while (this.#closed !== undefined) await raceAbort(this.#closed, options.signal);
    this.#inside++;
    let left = false;
    return {
      [Symbol.dispose]: () => {
        if (left) return;
        left = true;
        this.#inside--;
        if (this.#inside === 0) this.#empty?.resolve();
      },
    };
  }

  /** Keeps others out, and waits until nobody is inside. Open again by disposing. @throws the signal's reason; it is open then */
  async close(options: { signal: AbortSignal }): Promise<Disposable> {
    while (this.#closed !== undefined) await raceAbort(this.#closed, options.signal);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#closed = promise;
    const open = (): void => {
      if (this.#closed === promise) this.#closed = undefined;
      resolve();
    };
    try {
      if (this.#inside > 0) {
        this.#empty = Promise.withResolvers<void>();
        await raceAbort(this.#empty.promise, options.signal);
      }
    } catch (error) {
      open();
      throw error;
    } finally {
      this.#empty = undefined;
    }
    return { [Symbol.dispose]: open };
  }
}
