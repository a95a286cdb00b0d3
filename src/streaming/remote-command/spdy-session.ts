import { finished, type Readable, type Writable } from "node:stream";
import { CridError } from "../../base/errors.ts";
import type { SpdyConnection } from "../spdy/connection.ts";
import { ResetStatus } from "../spdy/frames.ts";
import type { SpdyStream } from "../spdy/stream.ts";
import type { RemoteSession, WantedStreams } from "./session.ts";
import { encodeOutcome, type Outcome } from "./status.ts";
import { TerminalSizes } from "./terminal-sizes.ts";

/** What is served over SPDY; the client's order of preference decides. v5 exists only over WebSocket. */
export const spdyRemoteProtocols: readonly string[] = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

/** Five kinds, and room for a client that tries one again. */
export const MAX_REMOTE_STREAMS = 16;

const CREATION_TIMEOUT_MS = 30_000;

type Kind = "error" | "stdin" | "stdout" | "stderr" | "resize";

/**
 * Gathers the streams of a remote command as the client opens them: one for errors, one for each that was wanted, one for the terminal's
 * size (v3 and later, with a terminal). Each names itself by the header `streamType`.
 */
export class SpdySession implements RemoteSession {
  readonly #protocol: string;
  readonly #needed: Set<Kind>;
  readonly #streams = new Map<Kind, SpdyStream>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #gone = new AbortController();
  readonly #sizes = new TerminalSizes();
  #connection: SpdyConnection | undefined;
  #finishing = false;

  constructor(options: { protocol: string; wanted: WantedStreams }) {
    const { protocol, wanted } = options;
    this.#protocol = protocol;
    const resizes = wanted.tty && (protocol.startsWith("v4.") || protocol.startsWith("v3."));
    const kinds: (Kind | false)[] = [
      "error",
      wanted.stdin && "stdin",
      wanted.stdout && "stdout",
      wanted.stderr && "stderr",
      resizes && "resize",
    ];
    this.#needed = new Set(kinds.filter((kind) => kind !== false));
  }

  get stdin(): Readable | undefined {
    return this.#needed.has("stdin") ? this.#streams.get("stdin")?.input : undefined;
  }

  get stdout(): Writable | undefined {
    return this.#needed.has("stdout") ? this.#streams.get("stdout")?.output : undefined;
  }

  get stderr(): Writable | undefined {
    return this.#needed.has("stderr") ? this.#streams.get("stderr")?.output : undefined;
  }

  get sizes(): TerminalSizes | undefined {
    return this.#needed.has("resize") ? this.#sizes : undefined;
  }

  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** For the connection's `onStream`. Streams that nobody asked for are reset. */
  add(stream: SpdyStream): void {
    const kind = stream.headers.get("streamtype") as Kind | undefined;
    if (kind === undefined || !this.#needed.has(kind) || this.#streams.has(kind)) return stream.reset(ResetStatus.refusedStream);
    this.#streams.set(kind, stream);
    // Asked for now, so that what comes before the command runs is kept.
    if (kind === "stdin") void stream.input;
    if (kind === "resize") {
      stream.input.on("data", (chunk: Buffer) => this.#sizes.push(chunk));
      stream.input.on("end", () => this.#sizes.end());
    }
    if (this.#streams.size === this.#needed.size) this.#ready.resolve();
  }

  /** Waits until the client has opened every stream. @throws CridError when it does not in time, or goes away. */
  async open(connection: SpdyConnection): Promise<void> {
    this.#connection = connection;
    void connection.closed.then(() => {
      this.#sizes.end();
      const reason = new CridError("canceled", "the client went away");
      this.#ready.reject(reason);
      if (!this.#finishing) this.#gone.abort(reason);
    });
    const timer = setTimeout(() => {
      const missing = [...this.#needed].filter((kind) => !this.#streams.has(kind)).join(", ");
      this.#ready.reject(new CridError("deadline-exceeded", `timed out waiting for client to create streams: ${missing}`));
    }, CREATION_TIMEOUT_MS);
    try {
      await this.#ready.promise;
    } finally {
      clearTimeout(timer);
    }
    // v1 clients wait for the server's side of stdin to end; to later ones that would say that no input is read any more.
    if (this.#protocol === "channel.k8s.io") this.#streams.get("stdin")?.output.end();
  }

  async finish(outcome: Outcome): Promise<void> {
    this.#finishing = true;
    const error = this.#streams.get("error");
    const text = encodeOutcome(outcome, { json: this.#protocol.startsWith("v4.") });
    await Promise.all([this.stdout, this.stderr].map((output) => endOf(output)));
    error?.output.end(text);
    await endOf(error?.output);
    this.#connection?.close();
    await this.#connection?.closed;
  }
}

/** Ends the writable unless that was done; resolves when all of it was sent, or its reader is gone. */
export function endOf(output: Writable | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (output === undefined || output.destroyed) resolve();
  else {
    finished(output, { readable: false }, () => resolve());
    if (!output.writableEnded) output.end();
  }
  return promise;
}
