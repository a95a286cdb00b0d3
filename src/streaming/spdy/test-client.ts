import { once } from "node:events";
import { connect } from "node:net";
import { type Duplex, PassThrough, Writable } from "node:stream";
import { constants, createDeflate, type Deflate } from "node:zlib";
import { headerDictionary } from "./dictionary.ts";
import { dataHeader, FLAG_FIN, type Frame, FrameParser, synStream } from "./frames.ts";

/** For tests: the compressor of a client's header blocks, as zlib makes them. */
export class HeaderCompressor {
  readonly #deflate: Deflate;
  #last: Promise<unknown> = Promise.resolve();

  constructor(level = 6) {
    this.#deflate = createDeflate({ level, dictionary: headerDictionary });
  }

  block(headers: Readonly<Record<string, string>>): Promise<Buffer> {
    const entries = Object.entries(headers);
    const count = Buffer.alloc(4);
    count.writeUInt32BE(entries.length);
    const parts = entries.flat().flatMap((text) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(Buffer.byteLength(text));
      return [length, Buffer.from(text)];
    });
    return this.raw(Buffer.concat([count, ...parts]));
  }

  /** One at a time, in the order of the calls. */
  raw(plain: Buffer): Promise<Buffer> {
    const block = this.#last.then(() => this.#compress(plain));
    this.#last = block;
    return block;
  }

  async #compress(plain: Buffer): Promise<Buffer> {
    const chunks: Buffer[] = [];
    const onData = (chunk: Buffer): void => void chunks.push(chunk);
    this.#deflate.on("data", onData);
    this.#deflate.write(plain);
    await new Promise<void>((resolve) => this.#deflate.flush(constants.Z_SYNC_FLUSH, resolve));
    this.#deflate.off("data", onData);
    return Buffer.concat(chunks);
  }

  close(): void {
    this.#deflate.close();
  }
}

/** For tests: one stream of a SpdyTestClient. */
export interface TestStream {
  id: number;
  input: PassThrough;
  output: Writable;
  /** The status of the reset that the server sent; 0 until then. */
  resetStatus: number;
}

/** For tests: a SPDY client that, like Go's, does no flow control. */
export class SpdyTestClient {
  readonly socket: Duplex;
  readonly frames: Frame[] = [];
  readonly streams = new Map<number, TestStream>();
  readonly #compressor = new HeaderCompressor();
  #nextId = 1;
  status = 0;
  head = "";

  private constructor(socket: Duplex) {
    this.socket = socket;
    this.socket.on("error", () => {});
  }

  /** Speaks SPDY on the socket at once. */
  static over(socket: Duplex): SpdyTestClient {
    const client = new SpdyTestClient(socket);
    client.#speak();
    return client;
  }

  /** Upgrades at the URL. `status` and `head` have the answer. */
  static async dial(url: string, protocols: readonly string[], options: { method?: string } = {}): Promise<SpdyTestClient> {
    const { hostname, port, pathname } = new URL(url);
    const client = new SpdyTestClient(connect(Number(port), hostname));
    const lines = [
      `${options.method ?? "POST"} ${pathname} HTTP/1.1`,
      `Host: ${hostname}:${port}`,
      "Connection: Upgrade",
      "Upgrade: SPDY/3.1",
    ];
    for (const protocol of protocols) lines.push(`X-Stream-Protocol-Version: ${protocol}`);
    client.socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    let text = Buffer.alloc(0);
    while (!text.includes("\r\n\r\n")) {
      const [chunk] = (await once(client.socket, "data")) as [Buffer];
      text = Buffer.concat([text, chunk]);
    }
    const end = text.indexOf("\r\n\r\n") + 4;
    client.head = text.toString("latin1", 0, end);
    client.status = Number(client.head.slice(9, 12));
    if (client.status === 101) {
      if (end < text.length) client.socket.unshift(text.subarray(end));
      client.#speak();
    } else {
      client.head = text.toString("latin1");
      client.socket.on("data", (chunk: Buffer) => {
        client.head += chunk.toString("latin1");
      });
    }
    return client;
  }

  async open(headers: Readonly<Record<string, string>>, flags = 0): Promise<TestStream> {
    const id = this.#nextId;
    this.#nextId += 2;
    const stream: TestStream = {
      id,
      input: new PassThrough(),
      resetStatus: 0,
      output: new Writable({
        write: (chunk: Buffer, _encoding, done) => {
          this.socket.write(dataHeader(id, chunk.length));
          if (this.socket.write(chunk)) done();
          else this.socket.once("drain", done);
        },
        final: (done) => {
          this.socket.write(dataHeader(id, 0, FLAG_FIN));
          done();
        },
      }),
    };
    this.streams.set(id, stream);
    this.socket.write(synStream(id, await this.#compressor.block(headers), flags));
    return stream;
  }

  close(): void {
    this.socket.destroy();
    this.#compressor.close();
  }

  async closed(): Promise<void> {
    if (!this.socket.closed) await once(this.socket, "close");
  }

  #speak(): void {
    const parser = new FrameParser((frame) => this.#take(frame));
    this.socket.on("data", (chunk: Buffer) => parser.push(chunk));
    this.socket.on("end", () => {
      for (const { input } of this.streams.values()) input.end();
      this.socket.end();
    });
  }

  #take(frame: Frame): void {
    if (frame.type === "data") {
      const stream = this.streams.get(frame.streamId);
      if (frame.payload.length > 0 && stream?.input.write(frame.payload) === false) {
        this.socket.pause();
        stream.input.once("drain", () => this.socket.resume());
      }
      if (frame.fin) stream?.input.end();
      return;
    }
    this.frames.push(frame);
    if (frame.type !== "reset") return;
    const stream = this.streams.get(frame.streamId);
    stream?.input.end();
    if (stream !== undefined) stream.resetStatus = frame.status;
  }
}
