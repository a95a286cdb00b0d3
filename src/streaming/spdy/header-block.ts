import { constants, inflateRawSync } from "node:zlib";
import { headerDictionary, headerDictionaryId } from "./dictionary.ts";
import { SpdyError } from "./frames.ts";

/** A header block that inflates to more is an attack: Kubernetes' own have about 80 bytes. */
const MAX_BLOCK_BYTES = 32 * 1024;
const MAX_HEADERS = 100;
/** As far back as deflate can refer. */
const WINDOW_BYTES = 32 * 1024;
const ZLIB_HEADER_BYTES = 6;

/**
 * Decompresses the header blocks of one direction of a connection: one zlib stream, each block ended by a sync flush.
 *
 * node:zlib has no synchronous stream, and an asynchronous one costs 42 KiB a connection and a thread's turn a block. But a sync flush
 * ends at a byte's end, so each block is inflated alone, with what was inflated before as its dictionary: the same bytes
 * come out, and a connection holds no more than those (2 KiB for an exec).
 */
export class HeaderDecoder {
  #history: Buffer = headerDictionary;
  #begun = false;

  /** @throws SpdyError when the block is not what SPDY says, or too large; the connection cannot go on then. */
  decode(block: Buffer): Map<string, string> {
    const data = this.#begun ? block : this.#begin(block);
    let plain: Buffer;
    try {
      plain = inflateRawSync(data, {
        dictionary: this.#history,
        finishFlush: constants.Z_SYNC_FLUSH,
        maxOutputLength: MAX_BLOCK_BYTES,
        chunkSize: 1024,
      });
    } catch (error) {
      throw new SpdyError("protocol", "a header block that does not inflate", { cause: error });
    }
    this.#history = Buffer.concat([this.#history, plain]).subarray(-WINDOW_BYTES);
    return parseHeaders(plain);
  }

  #begin(block: Buffer): Buffer {
    // RFC 1950: CMF (deflate, window), FLG with FDICT set, then the dictionary's id.
    const valid =
      block.length >= ZLIB_HEADER_BYTES &&
      ((block[0] ?? 0) & 0x0f) === 8 &&
      block.readUInt16BE(0) % 31 === 0 &&
      ((block[1] ?? 0) & 0x20) !== 0 &&
      block.readUInt32BE(2) === headerDictionaryId;
    if (!valid) throw new SpdyError("protocol", "a header block without the dictionary of SPDY/3");
    this.#begun = true;
    return block.subarray(ZLIB_HEADER_BYTES);
  }
}

/**
 * Makes the blocks of this side. All that a server of Kubernetes streams ever sends is the empty block of a SYN_REPLY: four zero bytes, as a
 * stored deflate block, so no compressor is kept. A sync flush (an empty stored block) follows: Go's compress/flate hands out what it
 * inflated only at one, and fails the connection at the frame's end without.
 */
export class HeaderEncoder {
  #begun = false;

  empty(): Buffer {
    const stored = Buffer.from([0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    if (this.#begun) return stored;
    this.#begun = true;
    const header = Buffer.from([0x78, 0xbb, 0, 0, 0, 0]);
    header.writeUInt32BE(headerDictionaryId, 2);
    return Buffer.concat([header, stored]);
  }
}

/** Names and values of a block (SPDY draft 3.1, 2.6.10): a count, then each with its length. Several values of a name come joined by NUL: the first is taken. */
function parseHeaders(plain: Buffer): Map<string, string> {
  let at = 0;
  const number = (): number => {
    if (at + 4 > plain.length) throw new SpdyError("protocol", "a header block that is cut short");
    at += 4;
    return plain.readUInt32BE(at - 4);
  };
  const text = (): string => {
    const length = number();
    if (at + length > plain.length) throw new SpdyError("protocol", "a header block that is cut short");
    at += length;
    return plain.toString("latin1", at - length, at);
  };
  const count = number();
  if (count > MAX_HEADERS) throw new SpdyError("protocol", `a header block of ${count} headers`);
  const headers = new Map<string, string>();
  for (let index = 0; index < count; index++) {
    const name = text().toLowerCase();
    if (name === "" || headers.has(name)) throw new SpdyError("protocol", "a header block with an empty or repeated name");
    const [first = ""] = text().split("\0", 1);
    headers.set(name, first);
  }
  if (at !== plain.length) throw new SpdyError("protocol", "a header block with bytes behind its headers");
  return headers;
}
