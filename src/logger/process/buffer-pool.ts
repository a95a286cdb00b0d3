/** Buffers between the formatters and the files. Kept for reuse up to a number; beyond that they are left to the collector. */
export class BufferPool {
  readonly bufferBytes: number;
  readonly #keep: number;
  readonly #free: Buffer[] = [];
  #inUseBytes = 0;

  constructor(options: { bufferBytes: number; keep: number }) {
    this.bufferBytes = options.bufferBytes;
    this.#keep = options.keep;
  }

  /** Bytes handed out and not given back: formatted output that waits for the disk. */
  get inUseBytes(): number {
    return this.#inUseBytes;
  }

  /** A buffer of at least `bytes`, usually of `bufferBytes`. */
  take(bytes: number): Buffer {
    const buffer =
      bytes > this.bufferBytes ? Buffer.allocUnsafeSlow(bytes) : (this.#free.pop() ?? Buffer.allocUnsafeSlow(this.bufferBytes));
    this.#inUseBytes += buffer.length;
    return buffer;
  }

  giveBack(buffer: Buffer): void {
    this.#inUseBytes -= buffer.length;
    if (buffer.length === this.bufferBytes && this.#free.length < this.#keep) this.#free.push(buffer);
  }
}
