import type { Readable, Writable } from "node:stream";
import { DirectReadable, DirectWritable } from "../../base/direct-streams.ts";
import { FLAG_FIN, ResetStatus } from "./frames.ts";

/** What a stream needs of its connection. */
export interface StreamConnection {
  /** Sends one data frame; `done` is called when more may be sent. `payload` may be overwritten afterwards. */
  sendData(stream: SpdyStream, payload: Buffer, flags: number, done: (error?: Error | null) => void): void;
  sendReset(stream: SpdyStream, status: number): void;
  /** The stream's reader has (true) more than it can take, or (false) room again. */
  hold(stream: SpdyStream, held: boolean): void;
  /** The reader took bytes: the peer may send as many more. */
  credit(stream: SpdyStream, bytes: number): void;
  forget(stream: SpdyStream): void;
}

/**
 * One stream that the client opened. Its two directions are objects of their own, made when first asked for: half of them are never
 * used, and they end apart.
 *
 *     open ──FIN sent──> half-closed (local) ──FIN received──┐
 *      ├────FIN received──> half-closed (remote) ──FIN sent──┴──> closed
 *      └──RST_STREAM sent or received, or the connection lost (from any state)──> closed
 */
export class SpdyStream {
  readonly id: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly #connection: StreamConnection;
  #input: DirectReadable | undefined;
  #output: StreamOutput | undefined;
  #remoteClosed: boolean;
  #localClosed: boolean;
  #held = false;
  #uncredited = 0;
  /** What flow control lets this side still send; only looked at when the peer does flow control. */
  sendWindow: number;
  /** Bytes taken that the peer was not told of yet; kept by the connection. */
  receiveCredit = 0;
  /** The client reset the stream, or is gone. `input` has ended and `output` is destroyed by then. */
  onBroken: () => void = () => {};

  constructor(options: {
    id: number;
    headers: ReadonlyMap<string, string>;
    connection: StreamConnection;
    sendWindow: number;
    remoteClosed: boolean;
    localClosed: boolean;
  }) {
    this.id = options.id;
    this.headers = options.headers;
    this.#connection = options.connection;
    this.sendWindow = options.sendWindow;
    this.#remoteClosed = options.remoteClosed;
    this.#localClosed = options.localClosed;
  }

  get closed(): boolean {
    return this.#remoteClosed && this.#localClosed;
  }

  /**
   * What the client sends. Must be asked for when the stream is handed over: what comes before that is dropped. It ends, after what was sent,
   * with the client's half-close and also when the stream or the connection breaks; `onBroken` tells these apart.
   */
  get input(): Readable {
    if (this.#input === undefined) {
      this.#input = new DirectReadable(() => this.#hold(false));
      if (this.#remoteClosed) this.#input.finish();
    }
    return this.#input;
  }

  /** What goes to the client; `end()` half-closes. */
  get output(): Writable {
    if (this.#output === undefined) {
      this.#output = new StreamOutput({
        send: (payload, done) => this.#connection.sendData(this, payload, 0, done),
        finish: (done) => this.#finish(done),
      });
      if (this.#localClosed) this.#output.destroy();
    }
    return this.#output;
  }

  /** Ends both directions at once. */
  reset(status: number = ResetStatus.cancel): void {
    if (this.closed) return;
    this.#connection.sendReset(this, status);
    this.#close();
  }

  /** For the connection: a piece of a data frame. Answers false when the client had closed its side before. */
  receive(payload: Buffer, fin: boolean): boolean {
    if (this.#remoteClosed) return false;
    if (payload.length > 0) {
      this.#uncredited += payload.length;
      const room = this.#input === undefined || this.#input.deliver(payload);
      this.#hold(!room);
    }
    if (fin) {
      this.#remoteClosed = true;
      this.#input?.finish();
      if (this.closed) this.#connection.forget(this);
    }
    return true;
  }

  /** For the connection: what was received is about to be overwritten. */
  flush(): void {
    if (this.#input?.flush() === false) this.#hold(true);
  }

  /** For the connection: the client reset the stream, or is gone. */
  broken(): void {
    if (this.closed) return;
    this.#close();
    this.onBroken();
  }

  #close(): void {
    this.#remoteClosed = true;
    this.#localClosed = true;
    this.#hold(false);
    this.#input?.finish();
    if (this.#output?.writableFinished === false) this.#output.destroy(new Error("the client closed the stream"));
    this.#connection.forget(this);
  }

  #finish(done: (error?: Error | null) => void): void {
    if (this.#localClosed) return done();
    this.#localClosed = true;
    this.#connection.sendData(this, Buffer.alloc(0), FLAG_FIN, done);
    if (this.closed) this.#connection.forget(this);
  }

  #hold(held: boolean): void {
    if (!held && this.#uncredited > 0) {
      this.#connection.credit(this, this.#uncredited);
      this.#uncredited = 0;
    }
    if (held === this.#held) return;
    this.#held = held;
    this.#connection.hold(this, held);
  }
}

class StreamOutput extends DirectWritable {
  readonly #send: (payload: Buffer, done: (error?: Error | null) => void) => void;
  readonly #finish: (done: (error?: Error | null) => void) => void;

  constructor(options: {
    send: (payload: Buffer, done: (error?: Error | null) => void) => void;
    finish: (done: (error?: Error | null) => void) => void;
  }) {
    super({ decodeStrings: true });
    this.#send = options.send;
    this.#finish = options.finish;
    // A client that goes away must not end the daemon because nobody listens yet, or any more.
    this.on("error", () => {});
  }

  override take(chunk: Buffer): boolean {
    if (this.writableLength > 0) return this.write(Buffer.from(chunk));
    if (this.destroyed || this.writableEnded) return true;
    let room = false;
    let late = false;
    this.#send(chunk, () => {
      room = true;
      if (late) this.emit("drain");
    });
    late = true;
    return room;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#finish(done);
  }
}
