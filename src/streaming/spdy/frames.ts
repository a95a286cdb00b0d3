/** SPDY/3.1 frames (SPDY protocol draft 3.1, section 2.2): what a server of Kubernetes streams reads and writes. */
const VERSION = 3;

const SYN_STREAM = 1;
const SYN_REPLY = 2;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const HEADERS = 8;
const WINDOW_UPDATE = 9;

export const FLAG_FIN = 1;
const FLAG_UNIDIRECTIONAL = 2;

const HEADER_BYTES = 8;
/** Control frames of Kubernetes clients have under 200 bytes. Data frames are passed on in pieces and may have their full 16 MiB. */
const MAX_CONTROL_BYTES = 16 * 1024;
const SETTINGS_INITIAL_WINDOW_SIZE = 7;

/** RST_STREAM status codes (2.6.3). */
export const ResetStatus = {
  protocolError: 1,
  invalidStream: 2,
  refusedStream: 3,
  unsupportedVersion: 4,
  cancel: 5,
  internalError: 6,
} as const;

/** GOAWAY status codes (2.6.6). */
export const GoAwayStatus = { ok: 0, protocolError: 1, internalError: 2 } as const;

/** The peer broke the protocol, or a limit of ours: the connection is given up. */
export class SpdyError extends Error {
  override readonly name = "SpdyError";
  readonly status: number;

  constructor(status: "protocol" | "internal", message: string, options?: { cause?: unknown }) {
    super(`SPDY: ${message}`, options);
    this.status = status === "protocol" ? GoAwayStatus.protocolError : GoAwayStatus.internalError;
  }
}

export type Frame =
  | { type: "syn-stream"; streamId: number; fin: boolean; unidirectional: boolean; block: Buffer }
  | { type: "syn-reply" | "headers"; streamId: number; fin: boolean; block: Buffer }
  | { type: "reset"; streamId: number; status: number }
  | { type: "settings"; initialWindow: number | undefined }
  | { type: "ping"; id: number }
  | { type: "goaway"; status: number }
  | { type: "window-update"; streamId: number; delta: number }
  /** A piece of a data frame; `fin` comes with the last piece. The bytes are the transport's own and are not copied. */
  | { type: "data"; streamId: number; fin: boolean; payload: Buffer };

/**
 * Cuts a byte stream into frames. Control frames are gathered whole, data frames handed on piece by piece as they come, so that nothing
 * the peer says makes this side hold more than MAX_CONTROL_BYTES.
 */
export class FrameParser {
  readonly #onFrame: (frame: Frame) => void;
  readonly #header: Buffer = Buffer.alloc(HEADER_BYTES);
  #headerLength = 0;
  #control: { kind: number; flags: number; payload: Buffer; length: number } | undefined;
  #data: { streamId: number; fin: boolean; left: number } | undefined;

  constructor(onFrame: (frame: Frame) => void) {
    this.#onFrame = onFrame;
  }

  /** @throws SpdyError when the bytes are no SPDY/3.1. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#data !== undefined) at = this.#takeData(this.#data, chunk, at);
      else if (this.#control !== undefined) at = this.#takeControl(this.#control, chunk, at);
      else at = this.#takeHeader(chunk, at);
    }
  }

  #takeHeader(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + HEADER_BYTES - this.#headerLength);
    chunk.copy(this.#header, this.#headerLength, at, end);
    this.#headerLength += end - at;
    if (this.#headerLength < HEADER_BYTES) return end;
    this.#headerLength = 0;
    const first = this.#header.readUInt32BE(0);
    const flags = this.#header[4] ?? 0;
    const length = this.#header.readUIntBE(5, 3);
    if (first >>> 31 === 0) {
      if (first === 0) throw new SpdyError("protocol", "a data frame of stream 0");
      const fin = (flags & FLAG_FIN) !== 0;
      if (length > 0) this.#data = { streamId: first, fin, left: length };
      else this.#onFrame({ type: "data", streamId: first, fin, payload: Buffer.alloc(0) });
      return end;
    }
    const version = (first >>> 16) & 0x7fff;
    if (version !== VERSION) throw new SpdyError("protocol", `a control frame of version ${version}`);
    if (length > MAX_CONTROL_BYTES) throw new SpdyError("protocol", `a control frame of ${length} bytes`);
    const kind = first & 0xffff;
    if (length > 0) this.#control = { kind, flags, payload: Buffer.allocUnsafe(length), length: 0 };
    else this.#emitControl(kind, flags, Buffer.alloc(0));
    return end;
  }

  #takeControl(control: { kind: number; flags: number; payload: Buffer; length: number }, chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + control.payload.length - control.length);
    chunk.copy(control.payload, control.length, at, end);
    control.length += end - at;
    if (control.length === control.payload.length) {
      this.#control = undefined;
      this.#emitControl(control.kind, control.flags, control.payload);
    }
    return end;
  }

  #takeData(data: { streamId: number; fin: boolean; left: number }, chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + data.left);
    data.left -= end - at;
    if (data.left === 0) this.#data = undefined;
    this.#onFrame({ type: "data", streamId: data.streamId, fin: data.fin && data.left === 0, payload: chunk.subarray(at, end) });
    return end;
  }

  #emitControl(kind: number, flags: number, payload: Buffer): void {
    const frame = parseControl(kind, flags, payload);
    if (frame !== undefined) this.#onFrame(frame);
  }
}

/** Answers undefined for kinds that are to be ignored (2.2.1: unknown control frames). */
function parseControl(kind: number, flags: number, payload: Buffer): Frame | undefined {
  const fin = (flags & FLAG_FIN) !== 0;
  switch (kind) {
    case SYN_STREAM:
      need(payload, 10, "SYN_STREAM");
      return {
        type: "syn-stream",
        streamId: streamId(payload),
        fin,
        unidirectional: (flags & FLAG_UNIDIRECTIONAL) !== 0,
        block: payload.subarray(10),
      };
    case SYN_REPLY:
    case HEADERS:
      need(payload, 4, "SYN_REPLY or HEADERS");
      return { type: kind === HEADERS ? "headers" : "syn-reply", streamId: streamId(payload), fin, block: payload.subarray(4) };
    case RST_STREAM:
      need(payload, 8, "RST_STREAM", 8);
      return { type: "reset", streamId: streamId(payload), status: payload.readUInt32BE(4) };
    case SETTINGS:
      return { type: "settings", initialWindow: initialWindow(payload) };
    case PING:
      need(payload, 4, "PING", 4);
      return { type: "ping", id: payload.readUInt32BE(0) };
    case GOAWAY:
      need(payload, 8, "GOAWAY", 8);
      return { type: "goaway", status: payload.readUInt32BE(4) };
    case WINDOW_UPDATE:
      need(payload, 8, "WINDOW_UPDATE", 8);
      return { type: "window-update", streamId: payload.readUInt32BE(0) & 0x7fff_ffff, delta: payload.readUInt32BE(4) & 0x7fff_ffff };
    default:
      return undefined;
  }
}

function streamId(payload: Buffer): number {
  const id = payload.readUInt32BE(0) & 0x7fff_ffff;
  if (id === 0) throw new SpdyError("protocol", "a control frame of stream 0");
  return id;
}

function initialWindow(payload: Buffer): number | undefined {
  need(payload, 4, "SETTINGS");
  const count = payload.readUInt32BE(0);
  need(payload, 4 + count * 8, "SETTINGS", 4 + count * 8);
  for (let at = 4; at < payload.length; at += 8) {
    if ((payload.readUInt32BE(at) & 0xff_ffff) === SETTINGS_INITIAL_WINDOW_SIZE) return payload.readUInt32BE(at + 4) & 0x7fff_ffff;
  }
  return undefined;
}

function need(payload: Buffer, atLeast: number, name: string, atMost = Number.POSITIVE_INFINITY): void {
  if (payload.length < atLeast || payload.length > atMost) throw new SpdyError("protocol", `a ${name} frame of ${payload.length} bytes`);
}

function control(kind: number, flags: number, payload: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
  frame.writeUInt32BE((0x8000_0000 | (VERSION << 16) | kind) >>> 0, 0);
  frame.writeUInt32BE(((flags << 24) | payload.length) >>> 0, 4);
  payload.copy(frame, HEADER_BYTES);
  return frame;
}

function words(...values: number[]): Buffer {
  const buffer = Buffer.allocUnsafe(values.length * 4);
  for (const [index, value] of values.entries()) buffer.writeUInt32BE(value >>> 0, index * 4);
  return buffer;
}

/** The header of a data frame; its payload follows it on the wire. At most 16 MiB - 1. */
export function dataHeader(id: number, length: number, flags = 0): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt32BE(id, 0);
  header.writeUInt32BE(((flags << 24) | length) >>> 0, 4);
  return header;
}

export function synReply(id: number, block: Buffer): Buffer {
  return control(SYN_REPLY, 0, Buffer.concat([words(id), block]));
}

/** Clients send these; here for tests. */
export function synStream(id: number, block: Buffer, flags = 0): Buffer {
  return control(SYN_STREAM, flags, Buffer.concat([words(id, 0), Buffer.alloc(2), block]));
}

export function reset(id: number, status: number): Buffer {
  return control(RST_STREAM, 0, words(id, status));
}

export function ping(id: number): Buffer {
  return control(PING, 0, words(id));
}

export function goAway(lastStreamId: number, status: number): Buffer {
  return control(GOAWAY, 0, words(lastStreamId, status));
}

/** Stream 0 is the session. */
export function windowUpdate(id: number, delta: number): Buffer {
  return control(WINDOW_UPDATE, 0, words(id, delta));
}

export function settingsInitialWindow(bytes: number): Buffer {
  return control(SETTINGS, 0, words(1, SETTINGS_INITIAL_WINDOW_SIZE, bytes));
}
