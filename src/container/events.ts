import type { Nanos } from "../base/time.ts";

export type LifecycleEventType = "created" | "started" | "stopped" | "deleted";

/** Something happened to a container, or to a pod (then `containerId` is the pod's id, as the CRI's event stream has it). */
export interface LifecycleEvent {
  type: LifecycleEventType;
  containerId: string;
  sandboxId: string;
  at: Nanos;
}

/** One reader of the events, with a bounded queue of its own: a slow one is dropped and never holds up anybody. */
export interface EventSubscription extends AsyncIterable<LifecycleEvent>, Disposable {
  /** True once it was dropped for being slow; the iteration has then ended. */
  readonly overflowed: boolean;
}

interface Reader {
  queue: LifecycleEvent[];
  wake: (() => void) | undefined;
  ended: boolean;
  overflowed: boolean;
  onDropped: () => void;
}

/** The lifecycle of all pods and containers as a stream: what GetContainerEvents serves. */
export class LifecycleEvents {
  readonly #readers = new Set<Reader>();
  readonly #limit: number;
  readonly #onDropped: () => void;

  /** @param options.limit how many events a reader may fall behind; `onDropped` is called for each reader dropped for it */
  constructor(options: { limit?: number; onDropped?: () => void } = {}) {
    this.#limit = options.limit ?? 1000;
    this.#onDropped = options.onDropped ?? (() => {});
  }

  get subscribers(): number {
    return this.#readers.size;
  }

  publish(event: LifecycleEvent): void {
    for (const reader of this.#readers) {
      if (reader.queue.length >= this.#limit) {
        reader.overflowed = true;
        // Nobody will read them.
        reader.queue = [];
        this.#end(reader);
        this.#onDropped();
        reader.onDropped();
        continue;
      }
      reader.queue.push(event);
      reader.wake?.();
    }
  }

  /**
   * Events from now on, until disposed, dropped, aborted or closed. The abort ends the iteration without an error.
   *
   * @param options.onDropped called once when this one is dropped, as its reader may be held up elsewhere than in the iteration
   */
  subscribe(options: { signal: AbortSignal; onDropped?: () => void }): EventSubscription {
    const reader: Reader = { queue: [], wake: undefined, ended: false, overflowed: false, onDropped: options.onDropped ?? (() => {}) };
    this.#readers.add(reader);
    const onAbort = (): void => this.#end(reader);
    if (options.signal.aborted) onAbort();
    options.signal.addEventListener("abort", onAbort, { once: true });
    const dispose = (): void => {
      options.signal.removeEventListener("abort", onAbort);
      this.#end(reader);
    };
    return {
      get overflowed() {
        return reader.overflowed;
      },
      [Symbol.dispose]: dispose,
      async *[Symbol.asyncIterator]() {
        try {
          for (;;) {
            const event = reader.overflowed ? undefined : reader.queue.shift();
            if (event !== undefined) {
              yield event;
            } else if (reader.ended) {
              return;
            } else {
              await new Promise<void>((resolve) => {
                reader.wake = resolve;
              });
            }
          }
        } finally {
          dispose();
        }
      },
    };
  }

  /** Ends every subscription: the daemon stops. */
  close(): void {
    for (const reader of this.#readers) this.#end(reader);
  }

  #end(reader: Reader): void {
    reader.ended = true;
    this.#readers.delete(reader);
    reader.wake?.();
  }
}
