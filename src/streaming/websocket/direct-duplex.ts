import { Duplex } from "node:stream";
import type { DirectSocket } from "../../base/direct-socket.ts";

/** A DirectSocket as the stream that `ws` asks for: a message is written at once, and a small read does not cost a buffer of 64 KiB. */
export class DirectDuplex extends Duplex {
  readonly #direct: DirectSocket;
  #started = false;

  constructor(direct: DirectSocket) {
    super({ allowHalfOpen: true });
    this.#direct = direct;
    direct.socket
      .on("end", () => this.push(null))
      .on("error", (error) => this.destroy(error))
      .on("close", () => this.destroy());
    this.on("error", () => {});
  }

  /** Sends one binary message past `ws`, in the order of what it sends itself: a header (RFC 6455, 5.2) goes before the bytes, which are not copied. */
  sendBinary(first: number, payload: Buffer): boolean {
    return this.#direct.writeBoth(binaryHeader(first, payload.length), payload);
  }

  /** Calls back once what waits has left, or never will. */
  drained(done: () => void): void {
    this.#direct.socket.once("drain", done);
  }

  override _read(): void {
    if (this.#started) return this.#direct.resume();
    this.#started = true;
    this.#direct.start((chunk) => {
      if (!this.push(Buffer.from(chunk))) this.#direct.pause();
    });
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#after(this.#direct.write(chunk), done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    for (const { chunk } of chunks) this.#direct.gather(chunk);
    this.#after(this.#direct.flush(), done);
  }

  override _final(done: () => void): void {
    this.#direct.socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#direct.socket.destroy();
    done(error);
  }

  #after(sent: boolean, done: () => void): void {
    if (sent) done();
    else this.#direct.socket.once("drain", done);
  }
}

/** Of a message of `first` and `length` more bytes, whole and, as from a server, unmasked. `first` included. */
function binaryHeader(first: number, length: number): Buffer {
  const total = length + 1;
  const header = Buffer.allocUnsafe(total < 126 ? 3 : total < 65_536 ? 5 : 11);
  header[0] = 0x82;
  if (total < 126) {
    header[1] = total;
  } else if (total < 65_536) {
    header[1] = 126;
    header.writeUInt16BE(total, 2);
  } else {
    header[1] = 127;
    header.writeUInt32BE(0, 2);
    header.writeUInt32BE(total, 6);
  }
  header[header.length - 1] = first;
  return header;
}
