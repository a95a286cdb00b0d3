import type { CridError } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";

/** One call of one RPC, as its handler sees it. */
export interface Call {
  /** Names the call in the log. */
  readonly id: string;
  readonly method: string;
  /** Aborts when the caller goes away, when the caller's deadline passes and when the daemon stops. */
  readonly signal: AbortSignal;
  /** Carries the call's id. */
  readonly log: Logger;
  /** Ends the call with this error and aborts its signal, also while a part of its answer waits for a caller that does not read. */
  fail(reason: CridError): void;
}

/** A response, or its bytes where they were kept from before. */
export type Answer<Response> = Response | Buffer;

/** Throws CridError; knows nothing of gRPC. */
export type UnaryHandler<Request, Response> = (request: Request, call: Call) => Promise<Answer<Response>> | Answer<Response>;

/** The stream ends when the iteration does. A slow reader holds the iteration up. */
export type StreamHandler<Request, Response> = (request: Request, call: Call) => AsyncIterable<Answer<Response>>;

/**
 * As StreamHandler, with many requests. Reading them holds the caller up: one that is not read waits. Ends with the reason of the call's
 * signal when the caller goes.
 */
export type DuplexHandler<Request, Response> = (requests: AsyncIterable<Request>, call: Call) => AsyncIterable<Answer<Response>>;
