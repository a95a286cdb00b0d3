/** What an uncompressed or unknown frame is taken for: the window that most writers choose. */
const usualWindow = 8 * 1024 * 1024;

/**
 * How much of what it has inflated a zstd stream must remember, in bytes, as its first frame says (RFC 8878, 3.1.1.1): that much memory is needed for
 * it. `usualWindow` where the first frame is a skippable one.
 */
export function zstdWindow(head: Buffer): number {
  if (head.length < 6 || head.readUInt32LE(0) !== 0xfd2fb528) return usualWindow;
  const descriptor = head[4] ?? 0;
  const singleSegment = (descriptor & 0x20) !== 0;
  if (!singleSegment) {
    const window = head[5] ?? 0;
    const base = 2 ** (10 + (window >> 3));
    return base + (base / 8) * (window & 7);
  }
  // The window is the content, whose size stands behind the dictionary's id.
  const at = 5 + ([0, 1, 2, 4][descriptor & 3] ?? 0);
  const bytes = [1, 2, 4, 8][descriptor >> 6] ?? 1;
  if (head.length < at + bytes) return usualWindow;
  if (bytes === 8) return Number(head.readBigUInt64LE(at));
  return head.readUIntLE(at, bytes) + (bytes === 2 ? 256 : 0);
}

/** Memory that several may use a part of each, and no more at a time. Whoever needs more than all of it has it alone. */
export class MemoryBudget {
  readonly #bytes: number;
  #used = 0;
  readonly #waiting: { bytes: number; admit: () => void }[] = [];

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  /** Waits for room. Dispose of what it answers when done. @throws the signal's reason */
  async take(wanted: number, o: { signal: AbortSignal }): Promise<Disposable> {
    o.signal.throwIfAborted();
    const bytes = Math.min(wanted, this.#bytes);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const entry = { bytes, admit: resolve };
    const onAbort = (): void => {
      this.#waiting.splice(this.#waiting.indexOf(entry), 1);
      reject(o.signal.reason);
      this.#next();
    };
    this.#waiting.push(entry);
    o.signal.addEventListener("abort", onAbort, { once: true });
    this.#next();
    try {
      await promise;
    } finally {
      o.signal.removeEventListener("abort", onAbort);
    }
    return {
      [Symbol.dispose]: () => {
        this.#used -= bytes;
        this.#next();
      },
    };
  }

  /** In the order of coming: a big one is not passed by for ever. */
  #next(): void {
    for (let first = this.#waiting[0]; first !== undefined && this.#used + first.bytes <= this.#bytes; first = this.#waiting[0]) {
      this.#waiting.shift();
      this.#used += first.bytes;
      first.admit();
    }
  }
}
