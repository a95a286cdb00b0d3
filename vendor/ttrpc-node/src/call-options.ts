import type { Metadata } from "./codec.ts";
import { Code, TtrpcError } from "./errors.ts";

export interface CallOptions {
  /**
   * Abort: the call rejects with the signal's reason at once. ttrpc has no message to cancel a call: the server goes on until
   * its own deadline, and its answer is ignored.
   */
  signal?: AbortSignal;
  /** Sent to the server as the call's timeout, and kept here as well: then the call rejects with DEADLINE_EXCEEDED. */
  timeoutMs?: number;
  metadata?: Metadata;
}

export interface StreamOptions extends CallOptions {
  /** This side sends a stream of messages; close it with `closeSend()`. */
  clientStreaming: boolean;
  /** The server answers with a stream of messages; else with one. */
  serverStreaming: boolean;
  /** The first message. A method without client streaming takes its request here. */
  request?: Uint8Array;
}

/** The longest delay setTimeout knows; a longer limit is left to the server. */
const maxTimerMs = 0x7fffffff;

/** Calls `stop` with the reason when the call is aborted or out of time. Gives the function that ends the watching. */
export function watch(options: CallOptions, name: string, stop: (reason: Error) => void): () => void {
  const { signal, timeoutMs } = options;
  const onAbort = (): void =>
    stop(signal?.reason instanceof Error ? signal.reason : new TtrpcError(Code.CANCELLED, String(signal?.reason)));
  signal?.addEventListener("abort", onAbort, { once: true });
  const timer =
    timeoutMs === undefined || timeoutMs > maxTimerMs
      ? undefined
      : setTimeout(() => stop(new TtrpcError(Code.DEADLINE_EXCEEDED, `${name}: no answer after ${timeoutMs} ms`)), timeoutMs);
  return () => {
    signal?.removeEventListener("abort", onAbort);
    clearTimeout(timer);
  };
}
