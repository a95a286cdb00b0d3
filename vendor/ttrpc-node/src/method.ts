import type { Metadata } from "./codec.ts";
import type { MessageStream } from "./stream.ts";

/** What a handler knows of its call. */
export interface CallContext {
  readonly service: string;
  readonly method: string;
  readonly metadata: Metadata;
  /** Aborts when the caller's timeout passes, its connection ends, or the server is closed by force. */
  readonly signal: AbortSignal;
}

/** Answers a unary call. What it throws becomes the status: see `TtrpcError.from`. */
export type UnaryHandler = (request: Uint8Array, context: CallContext) => Promise<Uint8Array> | Uint8Array;

/**
 * A streaming method. The request's own payload is the first message of the stream. What `handle` returns is the answer of a
 * method without server streaming, and one more message (if it is anything) of one with.
 */
export interface StreamMethod {
  readonly clientStreaming: boolean;
  readonly serverStreaming: boolean;
  readonly handle: (stream: MessageStream, context: CallContext) => Promise<Uint8Array | undefined>;
}

export type Method = UnaryHandler | StreamMethod;
