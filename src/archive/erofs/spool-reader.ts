import { readSync } from "node:fs";
import { CridError } from "../../base/errors.ts";
import { giveBuffer, takeBuffer } from "../spare-buffers.ts";

const windowBytes = 64 * 1024;

/** Reads small pieces of a file that lie near one another, in whatever order. */
export class SpoolReader {
  readonly #fd: number;
  readonly #what: string;
  readonly #window = takeBuffer();
  #start = 0;
  #length = 0;

  constructor(fd: number, what: string) {
    this.#fd = fd;
    this.#what = what;
  }

  read(position: number, into: Buffer, at: number, length: number): void {
    if (position < this.#start || position + length > this.#start + this.#length) {
      // A little before as well: the order is almost that of the file.
      this.#start = Math.max(0, position - windowBytes / 4);
      this.#length = readSync(this.#fd, this.#window, 0, windowBytes, this.#start);
    }
    const from = position - this.#start;
    if (from + length > this.#length) throw new CridError("internal", `${this.#what}: its spool ends early`);
    this.#window.copy(into, at, from, from + length);
  }

  /** Once, after the last read. */
  close(): void {
    giveBuffer(this.#window);
  }
}
