import type { Readable, Writable } from "node:stream";
import type { WebSocket } from "ws";
import { DirectReadable, DirectWritable } from "../../base/direct-streams.ts";
import type { DirectDuplex } from "./direct-duplex.ts";

/** What a WebSocket message of the channel protocols looks like. */
export interface ChannelCodec {
  /** Messages are text: the channel as a digit, then base64. Else: the channel as a byte, then the bytes. */
  base64: boolean;
  /** v5: a message of 255 and a channel half-closes that channel. */
  halfClose: boolean;
}

const CLOSE_SIGNAL = 255;
const DIGIT_ZERO = 48;
/** What may wait in the socket before an output's writer is held back. */
const HIGH_WATER_BYTES = 64 * 1024;
const NORMAL_CLOSURE = 1000;
const POLICY_VIOLATION = 1008;

/**
 * Kubernetes' channels on a WebSocket: the first byte of each message says which stream it belongs to. An empty channel message is no
 * end; only v5 can end one.
 */
export class ChannelSocket {
  readonly #socket: WebSocket;
  readonly #codec: ChannelCodec;
  readonly #inputs = new Map<number, DirectReadable>();
  readonly #full = new Set<DirectReadable>();
  readonly #outputs: Writable[] = [];
  readonly #direct: DirectDuplex | undefined;
  readonly #closed = Promise.withResolvers<void>();

  /** @param direct what the WebSocket runs on, when messages can be sent past it. */
  constructor(socket: WebSocket, codec: ChannelCodec, direct?: DirectDuplex) {
    this.#direct = codec.base64 ? undefined : direct;
    this.#socket = socket;
    this.#codec = codec;
    socket.on("message", (data) => this.#take(Buffer.isBuffer(data) ? data : Buffer.from(data as ArrayBuffer)));
    socket.on("error", () => {});
    socket.on("close", () => {
      for (const input of this.#inputs.values()) input.finish();
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
    const input: DirectReadable = new DirectReadable(() => this.#settle(input, false));
    this.#inputs.set(channel, input);
    return input;
  }

  /** What goes to the client on a channel. Its end is not told: WebSocket clients take the connection's. */
  output(channel: number): Writable {
    const output = new ChannelOutput((payload, done) => this.#sendOutput(channel, payload, done));
    if (this.#socket.readyState !== this.#socket.OPEN) output.destroy();
    this.#outputs.push(output);
    return output;
  }

  /** The payload may be overwritten afterwards. */
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

  /** Answers whether more may be sent before `done` is called. */
  #sendOutput(channel: number, payload: Buffer, done: (error?: Error) => void): boolean {
    const direct = this.#direct;
    if (direct === undefined || direct.writableLength > 0 || this.#socket.readyState !== this.#socket.OPEN) {
      this.send(channel, payload, done);
      return this.#socket.bufferedAmount < HIGH_WATER_BYTES;
    }
    const room = direct.sendBinary(channel, payload);
    if (room) done();
    else direct.drained(done);
    return room;
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
      return this.#inputs.get(message[1] ?? 0)?.finish();
    }
    const channel = this.#codec.base64 ? first - DIGIT_ZERO : first;
    const input = this.#inputs.get(channel);
    if (input === undefined || message.length === 1) return;
    const payload = this.#codec.base64 ? Buffer.from(message.toString("latin1", 1), "base64") : message.subarray(1);
    const room = input.deliver(payload);
    if (!input.flush() || !room) this.#settle(input, true);
  }

  /** While one channel's reader is full the connection is not read. */
  #settle(input: DirectReadable, full: boolean): void {
    if (full) this.#full.add(input);
    else this.#full.delete(input);
    if (this.#full.size > 0) this.#socket.pause();
    else if (this.#socket.isPaused) this.#socket.resume();
  }
}

class ChannelOutput extends DirectWritable {
  readonly #send: (payload: Buffer, done: (error?: Error) => void) => boolean;

  /** @param send answers whether more may be sent before `done` is called. */
  constructor(send: (payload: Buffer, done: (error?: Error) => void) => boolean) {
    super({ decodeStrings: true });
    this.#send = send;
    this.on("error", () => {});
  }

  override take(chunk: Buffer): boolean {
    if (this.writableLength > 0) return this.write(Buffer.from(chunk));
    if (this.destroyed || this.writableEnded) return true;
    let room: boolean | undefined;
    room = this.#send(chunk, () => {
      if (room === false) this.emit("drain");
    });
    return room;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    this.#send(chunk, done);
  }
}
