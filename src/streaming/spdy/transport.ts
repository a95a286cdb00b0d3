import type { Duplex } from "node:stream";
import type { DirectSocket } from "../../base/direct-socket.ts";

/** What carries a SPDY connection. */
export interface Transport {
  /** For its events and its end; bytes go through this interface. */
  readonly stream: Duplex;
  /** Reads from now on. A chunk is good during the call alone. */
  start(onData: (chunk: Buffer) => void): void;
  readonly paused: boolean;
  pause(): void;
  resume(): void;
  /** Sends a frame of one or two pieces, which may be overwritten afterwards. False: some of it waits, and the stream's "drain" comes. */
  send(head: Buffer, body?: Buffer): boolean;
}

/** A plain TCP connection. */
export class DirectTransport implements Transport {
  readonly stream: Duplex;
  readonly #direct: DirectSocket;
  readonly #head: Buffer;

  /** @param head what came with the upgrade request, behind it. */
  constructor(direct: DirectSocket, head: Buffer = Buffer.alloc(0)) {
    this.stream = direct.socket;
    this.#direct = direct;
    this.#head = head;
  }

  start(onData: (chunk: Buffer) => void): void {
    // The first read comes with the loop's next turn.
    this.#direct.start(onData);
    if (this.#head.length > 0) onData(this.#head);
  }

  get paused(): boolean {
    return this.#direct.paused;
  }

  pause(): void {
    this.#direct.pause();
  }

  resume(): void {
    this.#direct.resume();
  }

  send(head: Buffer, body?: Buffer): boolean {
    return body === undefined ? this.#direct.write(head) : this.#direct.writeBoth(head, body);
  }
}

/** TLS, or a tunnel through a WebSocket. */
export class StreamTransport implements Transport {
  readonly stream: Duplex;

  constructor(stream: Duplex) {
    this.stream = stream;
  }

  start(onData: (chunk: Buffer) => void): void {
    this.stream.on("data", onData);
  }

  get paused(): boolean {
    return this.stream.isPaused();
  }

  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  send(head: Buffer, body?: Buffer): boolean {
    if (this.stream.destroyed || this.stream.writableEnded) return true;
    return this.stream.write(body === undefined ? head : Buffer.concat([head, body]));
  }
}
