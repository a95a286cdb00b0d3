/**
 * The ttrpc frame (PROTOCOL.md of github.com/containerd/ttrpc): a header of 10 bytes, then the payload.
 *
 *     length u32 BE | stream id u32 BE | type u8 | flags u8 | payload
 */
export const HEADER_LENGTH = 10;

/** The longest payload a peer may send: 4 MiB. */
export const MAX_PAYLOAD = 4 << 20;

export const FrameType = { request: 1, response: 2, data: 3 } as const;

/** `remoteClosed`: the sender sends nothing more on the stream. `remoteOpen`: more data follows. `noData`: the payload is not a message. */
export const Flag = { remoteClosed: 1, remoteOpen: 2, noData: 4 } as const;

export interface Frame {
  streamId: number;
  /** One of FrameType, or a number of a later protocol version: such frames are to be ignored. */
  type: number;
  flags: number;
  payload: Buffer;
  /** 0, or the length of a payload over the limit, which was read and thrown away (`payload` is then empty). */
  oversize: number;
}

/** The header for a payload of `length` bytes. */
export function encodeHeader(length: number, streamId: number, type: number, flags: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_LENGTH);
  header.writeUInt32BE(length, 0);
  header.writeUInt32BE(streamId, 4);
  header.writeUInt8(type, 8);
  header.writeUInt8(flags, 9);
  return header;
}

/** Cuts a byte stream into frames, however it was chunked. Never throws: any bytes are some frames. */
export class FrameReader {
  readonly #header = Buffer.alloc(HEADER_LENGTH);
  readonly #maxPayload: number;
  #headerFilled = 0;
  #frame: Frame | undefined;
  /** The payload under way, when it did not come whole in one chunk. */
  #payload: Buffer | undefined;
  #payloadFilled = 0;
  #discard = 0;

  constructor(options: { maxPayload?: number } = {}) {
    this.#maxPayload = options.maxPayload ?? MAX_PAYLOAD;
  }

  /** Whether the bytes so far end between two frames. */
  get idle(): boolean {
    return this.#headerFilled === 0;
  }

  /** Takes the next bytes, gives the frames they complete. A payload may be a view into `chunk`. */
  push(chunk: Uint8Array): Frame[] {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const frames: Frame[] = [];
    let at = 0;
    for (;;) {
      if (this.#frame === undefined) {
        at += this.#takeHeader(bytes, at);
        if (this.#frame === undefined) return frames;
      }
      at += this.#takePayload(this.#frame, bytes, at);
      if (this.#discard > 0 || this.#payload !== undefined) return frames;
      frames.push(this.#frame);
      this.#frame = undefined;
      this.#headerFilled = 0;
    }
  }

  #takeHeader(bytes: Buffer, at: number): number {
    const taken = bytes.copy(this.#header, this.#headerFilled, at, at + HEADER_LENGTH - this.#headerFilled);
    this.#headerFilled += taken;
    if (this.#headerFilled < HEADER_LENGTH) return taken;
    const length = this.#header.readUInt32BE(0);
    const oversize = length > this.#maxPayload ? length : 0;
    this.#frame = {
      streamId: this.#header.readUInt32BE(4),
      type: this.#header.readUInt8(8),
      flags: this.#header.readUInt8(9),
      payload: Buffer.alloc(0),
      oversize,
    };
    this.#discard = oversize;
    return taken;
  }

  #takePayload(frame: Frame, bytes: Buffer, at: number): number {
    const available = bytes.length - at;
    if (frame.oversize > 0) {
      const dropped = Math.min(this.#discard, available);
      this.#discard -= dropped;
      return dropped;
    }
    const length = this.#header.readUInt32BE(0);
    if (this.#payload === undefined) {
      if (available >= length) {
        frame.payload = bytes.subarray(at, at + length);
        return length;
      }
      this.#payload = Buffer.allocUnsafe(length);
      this.#payloadFilled = 0;
    }
    const taken = bytes.copy(this.#payload, this.#payloadFilled, at);
    this.#payloadFilled += taken;
    if (this.#payloadFilled === length) {
      frame.payload = this.#payload;
      this.#payload = undefined;
    }
    return taken;
  }
}
