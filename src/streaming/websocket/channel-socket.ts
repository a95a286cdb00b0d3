import { Readable, Writable } from "node:stream";
import type { WebSocket } from "ws";

/** What a WebSocket message of the channel protocols looks like. */
export interface ChannelCodec {
  /** Messages are text: the channel as a digit, then base64. Else: the channel as a byte, then the bytes. */
  base64: boolean;
  /** v5: a message of 255 and a channel half-closes that channel. */
  halfClose: boolean;
}

const CLOSE_SIGNAL = 255;
const DIGIT_ZERO = 48;
const NORMAL_CLOSURE = 1000;
const POLICY_VIOLATION = 1008;

/**
 * Kubernetes' channels on a WebSocket: the first byte of each message says which stream it belongs to. An empty channel message is no
 * end; only v5 can end one.
 */
export class ChannelSocket {
  readonly #socket: WebSocket;
  readonly #codec: ChannelCodec;
  readonly #inputs = new Map<number, ChannelInput>();
  readonly #full = new Set<ChannelInput>();
  readonly #outputs: Writable[] = [];
  readonly #closed = Promise.withResolvers<void>();

  constructor(socket: WebSocket, codec: ChannelCodec) {
    this.#socket = socket;
    this.#codec = codec;
    socket.on("message", (data) => this.#take(Buffer.isBuffer(data) ? data : Buffer.from(data as ArrayBuffer)));
    socket.on("error", () => {});
    socket.on("close", () => {
      for (const input of this.#inputs.values()) input.end();
      for (const output of this.#outputs) output.destroy();
      this.#closed.resolve();
    });
  }

  /** Resolves when the connection is gone, whoever ended it. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** What the client sends on a channel. Ends with the client's half-close, or the connection. */
  input(channel: number): Readable {
    const input = new ChannelInput(() => this.#settle(input, false));
    this.#inputs.set(channel, input);
    return input;
  }

  /** What goes to the client on a channel. Its end is not told: WebSocket clients take the connection's. */
  output(channel: number): Writable {
    const output = new ChannelOutput((payload, done) => this.send(channel, payload, done));
    if (this.#socket.readyState !== this.#socket.OPEN) output.destroy();
    this.#outputs.push(output);
    return output;
  }

  send(channel: number, payload: Uint8Array, done?: (error?: Error) => void): void {
    if (this.#codec.base64) {
      const text = `${channel}${Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString("base64")}`;
      this.#socket.send(text, { binary: false }, done);
      return;
    }
    const message = Buffer.allocUnsafe(payload.length + 1);
    message[0] = channel;
    message.set(payload, 1);
    this.#socket.send(message, { binary: true }, done);
  }

  /** Says goodbye; what was sent before still arrives. */
  close(): void {
    this.#socket.close(NORMAL_CLOSURE);
  }

  #take(message: Buffer): void {
    const first = message[0];
    if (first === undefined) return;
    if (this.#codec.halfClose && first === CLOSE_SIGNAL) {
      if (message.length !== 2) return this.#socket.close(POLICY_VIOLATION, "one channel follows the close signal");
      return this.#inputs.get(message[1] ?? 0)?.end();
    }
    const channel = this.#codec.base64 ? first - DIGIT_ZERO : first;
    const input = this.#inputs.get(channel);
    if (input === undefined || message.length === 1) return;
    const payload = this.#codec.base64 ? Buffer.from(message.toString("latin1", 1), "base64") : message.subarray(1);
    if (!input.receive(payload)) this.#settle(input, true);
  }

  /** While one channel's reader is full the connection is not read. */
  #settle(input: ChannelInput, full: boolean): void {
    if (full) this.#full.add(input);
    else this.#full.delete(input);
    if (this.#full.size > 0) this.#socket.pause();
    else if (this.#socket.isPaused) this.#socket.resume();
  }
}

class ChannelInput extends Readable {
  readonly #onRead: () => void;
  #over = false;

  constructor(onRead: () => void) {
    super();
    this.#onRead = onRead;
    this.on("error", () => {});
  }

  /** False when there is enough for now. */
  receive(payload: Buffer): boolean {
    return this.#over || this.destroyed || this.push(payload);
  }

  end(): void {
    if (this.#over || this.destroyed) return;
    this.#over = true;
    this.push(null);
  }

  override _read(): void {
    this.#onRead();
  }
}

class ChannelOutput extends Writable {
  readonly #send: (payload: Buffer, done: (error?: Error) => void) => void;

  constructor(send: (payload: Buffer, done: (error?: Error) => void) => void) {
    super({ decodeStrings: true });
    this.#send = send;
    this.on("error", () => {});
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    this.#send(chunk, done);
  }
}
