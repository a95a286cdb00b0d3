import type { Readable, Writable } from "node:stream";

export interface TerminalSize {
  width: number;
  height: number;
}

/** The streams of an exec or attach. Output streams are ended when the output ends. */
export interface StreamIo {
  stdin?: Readable;
  stdout?: Writable;
  stderr?: Writable;
  /** Sizes of the client's terminal; ends with the client. */
  resize?: AsyncIterable<TerminalSize>;
}
