import type { Connection } from "./connection.ts";
import { Code, TtrpcError } from "./errors.ts";
import { Flag, FrameType } from "./frame.ts";

const none = new Uint8Array(0);

/** Messages that arrived and wait for their reader, then an end or an error. */
export class MessageQueue {
  readonly #hold: (bytes: number) => void;
  #items: Uint8Array[] = [];
  #head = 0;
  #end: { error: Error | undefined } | undefined;
  #readers: PromiseWithResolvers<Uint8Array | undefined>[] = [];

  /** @param hold is told how many bytes more (or, negative, fewer) wait here. */
  constructor(hold: (bytes: number) => void) {
    this.#hold = hold;
  }

  /** Whether no more message can come. */
  get ended(): boolean {
    return this.#end !== undefined;
  }

  push(message: Uint8Array): void {
    if (this.#end !== undefined) return;
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader.resolve(message);
      return;
    }
    this.#items.push(message);
    this.#hold(message.length);
  }

  /** No more messages; without an error the readers see the end. What arrived before is still read first. */
  end(error?: Error): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    for (const reader of this.#readers.splice(0)) settle(reader, error);
  }

  /** As `end`, and what nobody has read yet is thrown away. */
  drop(error: Error): void {
    while (this.#take() !== undefined);
    this.end(error);
  }

  /**
   * The next message, or undefined at the end.
   *
   * @throws the error the stream ended with, or the signal's reason.
   */
  async next(options: { signal?: AbortSignal } = {}): Promise<Uint8Array | undefined> {
    const { signal } = options;
    signal?.throwIfAborted();
    const item = this.#take();
    if (item !== undefined) return item;
    const reader = Promise.withResolvers<Uint8Array | undefined>();
    if (this.#end !== undefined) {
      settle(reader, this.#end.error);
      return reader.promise;
    }
    this.#readers.push(reader);
    const onAbort = (): void => {
      this.#readers = this.#readers.filter((other) => other !== reader);
      reader.reject(signal?.reason);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      return await reader.promise;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #take(): Uint8Array | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    this.#head++;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    }
    this.#hold(-item.length);
    return item;
  }
}

function settle(reader: PromiseWithResolvers<Uint8Array | undefined>, error: Error | undefined): void {
  if (error === undefined) reader.resolve(undefined);
  else reader.reject(error);
}

/** One end of a streaming call: messages in and out. */
export class MessageStream implements AsyncIterable<Uint8Array> {
  readonly #connection: Connection;
  readonly #id: number;
  readonly #incoming: MessageQueue;
  readonly #maySend: boolean;
  #sendClosed: boolean;

  constructor(options: { connection: Connection; id: number; incoming: MessageQueue; maySend: boolean }) {
    this.#connection = options.connection;
    this.#id = options.id;
    this.#incoming = options.incoming;
    this.#maySend = options.maySend;
    this.#sendClosed = !options.maySend;
  }

  /**
   * Sends one message; waits while the socket's buffer is full.
   *
   * @throws TtrpcError FAILED_PRECONDITION when this side may not send (any more), RESOURCE_EXHAUSTED for more than 4 MiB,
   * ConnectionClosedError.
   */
  async send(message: Uint8Array): Promise<void> {
    if (this.#sendClosed) {
      const why = this.#maySend ? "this side has closed the stream" : "the method takes no stream of messages from this side";
      throw new TtrpcError(Code.FAILED_PRECONDITION, `cannot send: ${why}`);
    }
    await this.#connection.send(this.#id, FrameType.data, 0, message);
  }

  /** The peer's next message, or undefined when it has sent its last. */
  async receive(options: { signal?: AbortSignal } = {}): Promise<Uint8Array | undefined> {
    return this.#incoming.next(options);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      const message = await this.receive();
      if (message === undefined) return;
      yield message;
    }
  }

  /** Tells the peer that no more messages come from this side. Does nothing the second time, or on a closed connection. */
  closeSend(): void {
    if (this.#sendClosed) return;
    this.#sendClosed = true;
    if (this.#connection.closed !== undefined) return;
    void this.#connection.send(this.#id, FrameType.data, Flag.remoteClosed | Flag.noData, none);
  }

  /** For the owner: nothing is sent any more, and no closing frame either. */
  protected forbidSend(): void {
    this.#sendClosed = true;
  }
}
