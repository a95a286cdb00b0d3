/**
 * The bytes of list entries, kept from one List to the next: the kubelet lists everything twice a second, and little changes in
 * between. An entry's bytes live as long as the object they were made for.
 */
export class EncodedList<Entry> {
  readonly #kept = new WeakMap<object, { version: string; bytes: Buffer }>();
  readonly #identity: (entry: Entry) => { key: object; version: string };
  readonly #encode: (entry: Entry) => Buffer;

  /**
   * @param identity the object that an entry is made of and that is replaced when it changes, and a version for what changes
   * besides it
   * @param encode the bytes of the entry's message
   */
  constructor(options: { identity: (entry: Entry) => { key: object; version: string }; encode: (entry: Entry) => Buffer }) {
    this.#identity = options.identity;
    this.#encode = options.encode;
  }

  /** The bytes of a message whose field 1 is `repeated` and holds these entries, as all lists of the CRI have it. */
  join(entries: readonly Entry[]): Buffer {
    return Buffer.concat(entries.map((entry) => this.#framed(entry)));
  }

  /** The same in several messages, none much bigger than `maxBytes`: for the streams of lists. Empty for no entries. */
  *pages(entries: readonly Entry[], maxBytes: number): Generator<Buffer> {
    yield* gather(entries, (entry) => this.#framed(entry), maxBytes);
  }

  #framed(entry: Entry): Buffer {
    const { key, version } = this.#identity(entry);
    const kept = this.#kept.get(key);
    if (kept?.version === version) return kept.bytes;
    const bytes = framed(this.#encode(entry));
    this.#kept.set(key, { version, bytes });
    return bytes;
  }
}

/** As `EncodedList.pages`, of entries whose bytes are not worth keeping: each is encoded when its page is asked for. */
export function* pagesOf<Entry>(entries: readonly Entry[], encode: (entry: Entry) => Buffer, maxBytes: number): Generator<Buffer> {
  yield* gather(entries, (entry) => framed(encode(entry)), maxBytes);
}

function* gather<Entry>(entries: readonly Entry[], encode: (entry: Entry) => Buffer, maxBytes: number): Generator<Buffer> {
  let page: Buffer[] = [];
  let size = 0;
  for (const entry of entries) {
    const bytes = encode(entry);
    if (size > 0 && size + bytes.length > maxBytes) {
      yield Buffer.concat(page);
      page = [];
      size = 0;
    }
    page.push(bytes);
    size += bytes.length;
  }
  if (size > 0) yield Buffer.concat(page);
}

/** Puts the tag of field 1 (length-delimited) and the length in front of a message. */
function framed(message: Buffer): Buffer {
  const head = [0x0a];
  let rest = message.length;
  for (; rest > 0x7f; rest >>>= 7) head.push((rest & 0x7f) | 0x80);
  head.push(rest);
  return Buffer.concat([Buffer.from(head), message]);
}
