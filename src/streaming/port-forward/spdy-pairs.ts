import type { Logger } from "../../base/log.ts";
import { ResetStatus } from "../spdy/frames.ts";
import type { SpdyStream } from "../spdy/stream.ts";
import { type Dial, forward } from "./forward.ts";

/** The protocol's name, over SPDY and (with a prefix) through a WebSocket. */
export const portForwardProtocol = "portforward.k8s.io";
export const tunnelProtocol = `SPDY/3.1+${portForwardProtocol}`;

/** Two for each forwarded connection. */
export const MAX_FORWARD_STREAMS = 4096;

const PAIR_TIMEOUT_MS = 30_000;

interface Pair {
  data: SpdyStream | undefined;
  error: SpdyStream | undefined;
  timer: NodeJS.Timeout;
}

/**
 * Port-forward over SPDY: for each connection the client opens two streams, `streamType` error and data, which carry the same `port` and
 * `requestID`. Old clients send no request id: then the streams' own numbers pair them, data following error.
 */
export class SpdyPairs {
  readonly #sandboxId: string;
  readonly #dial: Dial;
  readonly #log: Logger;
  readonly #pairs = new Map<string, Pair>();

  constructor(options: { sandboxId: string; dial: Dial; log: Logger }) {
    this.#sandboxId = options.sandboxId;
    this.#dial = options.dial;
    this.#log = options.log;
  }

  /** For the connection's `onStream`. */
  add(stream: SpdyStream): void {
    const kind = stream.headers.get("streamtype");
    const port = portOf(stream);
    if ((kind !== "error" && kind !== "data") || port === undefined) return stream.reset(ResetStatus.protocolError);
    // Asked for now, so that what comes before the pod is connected is kept.
    if (kind === "data") void stream.input;
    const requestId = stream.headers.get("requestid") ?? String(kind === "error" ? stream.id : stream.id - 2);
    const pair = this.#pairs.get(requestId) ?? this.#newPair(requestId);
    if (pair[kind] !== undefined) return stream.reset(ResetStatus.protocolError);
    pair[kind] = stream;
    if (pair.data === undefined || pair.error === undefined) return;
    this.#drop(requestId, pair);
    void this.#run(pair.data, pair.error);
  }

  /** The connection is gone. */
  close(): void {
    for (const [requestId, pair] of this.#pairs) this.#drop(requestId, pair);
  }

  #newPair(requestId: string): Pair {
    const timer = setTimeout(() => {
      this.#drop(requestId, pair);
      pair.error?.output.end(`(request=${requestId}) timed out waiting for streams`);
      pair.data?.reset();
    }, PAIR_TIMEOUT_MS);
    const pair: Pair = { data: undefined, error: undefined, timer };
    this.#pairs.set(requestId, pair);
    return pair;
  }

  #drop(requestId: string, pair: Pair): void {
    clearTimeout(pair.timer);
    this.#pairs.delete(requestId);
  }

  async #run(data: SpdyStream, error: SpdyStream): Promise<void> {
    const gone = new AbortController();
    data.onBroken = () => gone.abort();
    const message = await forward({
      sandboxId: this.#sandboxId,
      port: portOf(data) ?? 0,
      dial: this.#dial,
      connection: { input: data.input, output: data.output, halfClose: true, gone: gone.signal },
      log: this.#log,
    });
    if (message !== undefined) {
      // The text first: the client takes the reset of the data as the end of the connection.
      error.output.end(message, () => {
        data.reset();
        error.reset();
      });
      return;
    }
    error.output.end();
    if (gone.signal.aborted) error.reset();
  }
}

function portOf(stream: SpdyStream): number | undefined {
  const text = stream.headers.get("port") ?? "";
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}
