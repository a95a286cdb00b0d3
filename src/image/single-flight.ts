import { CridError } from "../base/errors.ts";
import { raceAbort } from "../base/keyed-mutex.ts";

interface Flight<T> {
  promise: Promise<T>;
  controller: AbortController;
  waiters: number;
}

/**
 * Work that is done once for all who want it at the same time. It goes on while anyone waits: a caller who leaves disturbs
 * nobody, and when the last one has left the work is aborted.
 */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Flight<T>>();

  /**
   * Joins the work under the key, or starts it.
   * @throws what the work throws, or the reason of the caller's signal
   */
  async run(key: string, work: (o: { signal: AbortSignal }) => Promise<T>, o: { signal: AbortSignal }): Promise<T> {
    for (;;) {
      o.signal.throwIfAborted();
      const flight = this.#flights.get(key) ?? this.#start(key, work);
      if (!flight.controller.signal.aborted) return this.#wait(key, flight, o);
      // Abandoned, and still cleaning up: what it holds (a file, a directory) must be free before it is begun anew.
      await raceAbort(this.abandoned(key), o.signal);
    }
  }

  /** Whether work under the key is going on. */
  has(key: string): boolean {
    return this.#flights.has(key);
  }

  /** Waits for the end of work under the key that nobody waits for any more. Never throws. */
  async abandoned(key: string): Promise<void> {
    const flight = this.#flights.get(key);
    if (flight?.controller.signal.aborted === true) await flight.promise.catch(() => undefined);
  }

  #start(key: string, work: (o: { signal: AbortSignal }) => Promise<T>): Flight<T> {
    const controller = new AbortController();
    const promise = (async () => {
      try {
        return await work({ signal: controller.signal });
      } finally {
        this.#flights.delete(key);
      }
    })();
    // Those who wait see the error; when all have left, nobody does.
    promise.catch(() => undefined);
    const flight = { promise, controller, waiters: 0 };
    this.#flights.set(key, flight);
    return flight;
  }

  async #wait(key: string, flight: Flight<T>, o: { signal: AbortSignal }): Promise<T> {
    flight.waiters++;
    try {
      return await raceAbort(flight.promise, o.signal);
    } finally {
      flight.waiters--;
      const underWay = this.#flights.get(key) === flight;
      if (flight.waiters === 0 && underWay) flight.controller.abort(new CridError("canceled", "nobody waits for it any more"));
    }
  }
}
