import type { Duplex } from "node:stream";
import { Code, ConnectionClosedError, TtrpcError } from "./errors.ts";
import { encodeHeader, type Frame, FrameReader, MAX_PAYLOAD } from "./frame.ts";

/** Below this a frame is copied into one buffer; above, header and payload are written one after the other. */
const COPY_LIMIT = 16 << 10;

/** How many bytes of messages that nobody has read yet may wait before the socket is paused: ttrpc has no flow control of its own. */
const HELD_LIMIT = 4 * MAX_PAYLOAD;

export interface ConnectionEvents {
  onFrame(frame: Frame): void;
  /** Once; nothing is sent or received after it. */
  onClosed(error: ConnectionClosedError): void;
}

/** Frames over one socket: what client and server have in common. */
export class Connection {
  readonly #socket: Duplex;
  readonly #events: ConnectionEvents;
  readonly #reader = new FrameReader();
  #held = 0;
  #closed: ConnectionClosedError | undefined;
  #drain: PromiseWithResolvers<void> | undefined;

  constructor(socket: Duplex, events: ConnectionEvents) {
    this.#socket = socket;
    this.#events = events;
    socket.on("data", (chunk: Uint8Array) => {
      for (const frame of this.#reader.push(chunk)) {
        if (this.#closed !== undefined) return;
        events.onFrame(frame);
      }
    });
    socket.on("drain", () => this.#releaseDrain());
    socket.on("end", () => this.#finish(this.#reader.idle ? "closed by the peer" : "closed by the peer in the middle of a frame"));
    socket.on("error", (error: Error) => this.#finish(isReset(error) ? `closed by the peer (${error.message})` : error.message, error));
    socket.on("close", () => this.#finish("closed"));
  }

  /** Why the connection is closed; undefined while it is open. */
  get closed(): ConnectionClosedError | undefined {
    return this.#closed;
  }

  /**
   * Writes one frame. Frames leave in the order of the calls.
   *
   * @returns a promise for room in the socket's buffer if that is full now.
   * @throws TtrpcError RESOURCE_EXHAUSTED for a payload over 4 MiB (nothing was sent), ConnectionClosedError.
   */
  send(streamId: number, type: number, flags: number, payload: Uint8Array): Promise<void> | undefined {
    if (this.#closed !== undefined) throw this.#closed;
    if (payload.length > MAX_PAYLOAD) {
      throw new TtrpcError(Code.RESOURCE_EXHAUSTED, `message length ${payload.length} exceeds the limit of ${MAX_PAYLOAD} bytes`);
    }
    const header = encodeHeader(payload.length, streamId, type, flags);
    let room: boolean;
    if (payload.length <= COPY_LIMIT) {
      room = this.#socket.write(Buffer.concat([header, payload]));
    } else {
      this.#socket.cork();
      this.#socket.write(header);
      room = this.#socket.write(payload);
      this.#socket.uncork();
    }
    if (room) return undefined;
    this.#drain ??= Promise.withResolvers();
    return this.#drain.promise;
  }

  /** Counts bytes that wait for a reader (or, negative, that were read); pauses the socket while they are too many. */
  hold(bytes: number): void {
    const before = this.#held;
    this.#held += bytes;
    if (before <= HELD_LIMIT && this.#held > HELD_LIMIT) this.#socket.pause();
    else if (before > HELD_LIMIT && this.#held <= HELD_LIMIT) this.#socket.resume();
  }

  /** Closes at once; what was not written yet is lost. */
  close(why: string): void {
    this.#finish(why);
  }

  /** Writes what is pending, then closes. */
  end(): void {
    if (this.#closed === undefined) this.#socket.end(() => this.#finish("closed"));
  }

  #finish(why: string, cause?: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = new ConnectionClosedError(`ttrpc connection: ${why}`, cause === undefined ? {} : { cause });
    this.#socket.destroy();
    this.#releaseDrain();
    this.#events.onClosed(this.#closed);
  }

  #releaseDrain(): void {
    this.#drain?.resolve();
    this.#drain = undefined;
  }
}

/** Whether the peer went away while it had unread data (ECONNRESET), or before ours arrived (EPIPE). */
function isReset(error: Error): boolean {
  return "code" in error && (error.code === "ECONNRESET" || error.code === "EPIPE");
}
