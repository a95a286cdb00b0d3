import { writeSync } from "node:fs";
import { beginWriteback } from "../../linux/files.ts";
import { giveBuffer, takeBuffer } from "../spare-buffers.ts";
import { malformed } from "../tar-header.ts";
import { blockSize } from "./format.ts";

/** How much is left to the disk at a time, while more is being made. */
const writebackBytes = 8 * 1024 * 1024;

/** Writes a file front to back through one buffer. Gaps become zeros, long ones holes. */
export class BlockWriter {
  readonly #fd: number;
  readonly #buffer: Buffer;
  #fill = 0;
  /** Where the buffer's first byte goes. */
  #base: number;

  /** What the disk has been given of it. */
  #given: number;

  constructor(fd: number, options: { start: number }) {
    this.#fd = fd;
    this.#base = options.start;
    this.#given = options.start;
    this.#buffer = takeBuffer();
  }

  get position(): number {
    return this.#base + this.#fill;
  }

  append(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      const taken = Math.min(chunk.length - at, this.#buffer.length - this.#fill);
      chunk.copy(this.#buffer, this.#fill, at, at + taken);
      this.#fill += taken;
      at += taken;
      if (this.#fill === this.#buffer.length) this.flush();
    }
  }

  /** Moves forward. @throws invalid-argument past what 32-bit block addresses reach (16 TiB) */
  skipTo(position: number): void {
    if (position / blockSize >= 2 ** 32) throw malformed("the layer is larger than 16 TiB");
    const gap = position - this.position;
    if (gap < this.#buffer.length - this.#fill) {
      this.#buffer.fill(0, this.#fill, this.#fill + gap);
      this.#fill += gap;
      return;
    }
    this.flush();
    this.#base = position;
  }

  align(): void {
    this.skipTo(Math.ceil(this.position / blockSize) * blockSize);
  }

  flush(): void {
    for (let done = 0; done < this.#fill; ) done += writeSync(this.#fd, this.#buffer, done, this.#fill - done, this.#base + done);
    this.#base += this.#fill;
    this.#fill = 0;
    if (this.#base - this.#given < writebackBytes) return;
    beginWriteback(this.#fd, this.#given, this.#base - this.#given);
    this.#given = this.#base;
  }

  /** Once, when all is written or nothing more will be. */
  close(): void {
    giveBuffer(this.#buffer);
  }
}
