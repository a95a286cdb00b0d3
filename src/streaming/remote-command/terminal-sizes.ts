/** In characters. */
export interface TerminalSize {
  width: number;
  height: number;
}

/** `{"Width":65535,"Height":65535}` has 31 bytes; white space in between is allowed. */
const MAX_OBJECT_BYTES = 512;
const MAX_SIZE = 65_535;

/**
 * The sizes of the client's terminal, as they come on the resize stream: JSON objects one after another. Iterated by whoever resizes the
 * terminal; when it is slower than the client, sizes in between are left out.
 */
export class TerminalSizes implements AsyncIterable<TerminalSize> {
  #text = "";
  #latest: TerminalSize | undefined;
  #ended = false;
  #wake: () => void = () => {};

  /** A piece of the resize stream. What is no size ends it, as it does in the reference server; the terminal keeps its size. */
  push(chunk: Uint8Array): void {
    if (this.#ended) return;
    this.#text += Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).toString("latin1");
    for (let end = this.#text.indexOf("}"); end >= 0; end = this.#text.indexOf("}")) {
      const size = parseSize(this.#text.slice(0, end + 1));
      this.#text = this.#text.slice(end + 1);
      if (size === undefined) return this.end();
      this.#latest = size;
    }
    if (this.#text.length > MAX_OBJECT_BYTES) return this.end();
    this.#wake();
  }

  /** No more sizes: the client closed the stream, or the process is gone. */
  end(): void {
    this.#ended = true;
    this.#text = "";
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TerminalSize, void, void> {
    for (;;) {
      const size = this.#latest;
      if (size !== undefined) {
        this.#latest = undefined;
        yield size;
      } else if (this.#ended) {
        return;
      } else {
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#wake = resolve;
        await promise;
      }
    }
  }
}

/** Keys in any case, as Go's decoder takes them. */
function parseSize(text: string): TerminalSize | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const fields = new Map(Object.entries(value).map(([key, field]) => [key.toLowerCase(), field as unknown]));
  const width = fields.get("width") ?? 0;
  const height = fields.get("height") ?? 0;
  return isSize(width) && isSize(height) ? { width, height } : undefined;
}

function isSize(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= MAX_SIZE;
}
