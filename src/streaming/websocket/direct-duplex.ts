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
