import { CridError, type ErrorKind } from "../base/errors.ts";

/**
 * What the daemon and the logger say to each other on `logger.sock`: one JSON object a line, `{"seq":N,"method":...}` answered by
 * `{"seq":N,"result":...}` or `{"seq":N,"error":{kind,message}}`, in any order. No protobuf and no ttrpc: the logger must stay
 * small, and has eight methods.
 *
 * `attach` takes a connection of its own. After the answer's line the connection carries frames from the logger: one byte
 * FRAME_*, four bytes of length (big endian), the payload. Back-pressure is the socket's own.
 *
 * A change that an older peer would misunderstand raises PROTOCOL_VERSION; a daemon that meets another version replaces the logger. For that
 * `hello`, `list` and `shutdown` are the same in every version, whatever else is in their answers.
 */
export const PROTOCOL_VERSION = 1;

export const LOGGER_SOCKET = "logger.sock";
export const LOGGER_LOCK = "logger.lock";
/** What the logger itself has to say; it has no other place, as it must not hold the daemon's stderr open. */
export const LOGGER_OUTPUT = "logger.log";
/** The descriptor on which a logger that a daemon started finds the lock, already held. */
export const LOCK_FD = 3;
/** Names the lock that LOCK_FD is, in the environment of a logger that a daemon started. */
export const LOCK_ENV = "CRID_LOGGER_LOCK";
/** Written to stdout once the socket listens. */
export const READY_LINE = "crid logger ready";

/** The longest request line. */
export const MAX_REQUEST_BYTES = 64 * 1024;

/** One container's output: where it comes from and where it goes. */
export interface LogSpec {
  id: string;
  /** "" = no log file: output is discarded, but for those attached. */
  logPath: string;
  /** Paths of fifos that exist; "" = none. */
  stdout: string;
  stderr: string;
  tty: boolean;
  /** In bytes, without the newline. */
  maxLineSize: number;
}

/** A container as `list` tells of it. */
export interface LogStatus extends LogSpec {
  created: boolean;
  /** Its output has ended and is written. */
  drained: boolean;
}

export interface LoggerStats {
  containers: number;
  attached: number;
  rssBytes: number;
  /** Since the logger started, of all containers. */
  readBytes: number;
  writtenBytes: number;
  droppedBytes: number;
  droppedRecords: number;
}

/** Every method, its parameters and its result. */
export interface LoggerMethods {
  hello: { params: object; result: { version: number; pid: number } };
  open: { params: { spec: LogSpec }; result: null };
  created: { params: { id: string }; result: null };
  drained: { params: { id: string; timeoutMs: number }; result: boolean };
  reopen: { params: { id: string; logPath?: string | undefined }; result: null };
  close: { params: { id: string }; result: null };
  list: { params: object; result: LogStatus[] };
  stats: { params: object; result: LoggerStats };
  attach: { params: { id: string; stdout: boolean; stderr: boolean }; result: null };
  shutdown: { params: object; result: null };
}

export type LoggerMethod = keyof LoggerMethods;

export type LoggerRequest = { [M in LoggerMethod]: { seq: number; method: M } & LoggerMethods[M]["params"] }[LoggerMethod];

export interface LoggerAnswer {
  seq: number;
  result?: unknown;
  error?: { kind: ErrorKind; message: string };
}

export const FRAME_STDOUT = 1;
export const FRAME_STDERR = 2;
/** The output has ended, or the container's log was closed. No payload. */
export const FRAME_END = 3;
/** The logger gave this attachment up; the payload says why. */
export const FRAME_ERROR = 4;

export const FRAME_HEADER_BYTES = 5;
export const MAX_FRAME_BYTES = 1024 * 1024;

/** A frame in one piece, which the socket can keep. */
export function encodeFrame(type: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length);
  frame[0] = type;
  frame.writeUInt32BE(payload.length, 1);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/** Cuts a byte stream into lines of at most `maxBytes`. Answers the lines that `chunk` completed. */
export class LineReader {
  readonly #maxBytes: number;
  #rest: Buffer = Buffer.alloc(0);

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** @throws CridError when a line is too long. */
  push(chunk: Uint8Array): string[] {
    let data = this.#rest.length === 0 ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length) : Buffer.concat([this.#rest, chunk]);
    const lines: string[] = [];
    for (let at = data.indexOf(10); at >= 0; at = data.indexOf(10)) {
      lines.push(data.toString("utf8", 0, at));
      data = data.subarray(at + 1);
    }
    if (data.length > this.#maxBytes) throw new CridError("invalid-argument", `a line of more than ${this.#maxBytes} bytes`);
    this.#rest = Buffer.from(data);
    return lines;
  }

  /** What came after the last line, and forgets it: for a connection that goes on in another form. */
  takeRest(): Buffer {
    const rest = this.#rest;
    this.#rest = Buffer.alloc(0);
    return rest;
  }
}
