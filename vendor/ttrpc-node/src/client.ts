import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { type CallOptions, type StreamOptions, watch } from "./call-options.ts";
import { decodeResponse, encodeRequest, type Metadata } from "./codec.ts";
import { Connection } from "./connection.ts";
import { Code, ConnectionClosedError, TtrpcError } from "./errors.ts";
import { Flag, type Frame, FrameType } from "./frame.ts";
import { MessageQueue, MessageStream } from "./stream.ts";

const noMetadata: Metadata = new Map();
const lastStreamId = 0xffffffff;

/** A streaming call, seen from the client. */
export class ClientStream extends MessageStream {
  readonly #abandon: (reason: Error) => void;

  constructor(options: { connection: Connection; id: number; incoming: MessageQueue; maySend: boolean; abandon: (reason: Error) => void }) {
    super(options);
    this.#abandon = options.abandon;
  }

  /** Gives the call up: readers see `reason`, the server sees the end of this side's messages. */
  cancel(reason: Error = new TtrpcError(Code.CANCELLED, "the stream was canceled")): void {
    this.#abandon(reason);
  }
}

/** A ttrpc client over one connection, for any number of calls at a time. Payloads are the encoded messages. */
export class Client {
  readonly #connection: Connection;
  readonly #calls = new Map<number, { onFrame(frame: Frame): void; onClosed(error: ConnectionClosedError): void }>();
  readonly #closed = Promise.withResolvers<ConnectionClosedError>();
  #nextId = 1;

  /** Takes over a connected socket. */
  constructor(socket: Duplex) {
    this.#connection = new Connection(socket, {
      // A frame of a call that is over, or was never made here, is ignored: the call may have been aborted.
      onFrame: (frame) => this.#calls.get(frame.streamId)?.onFrame(frame),
      onClosed: (error) => {
        const calls = [...this.#calls.values()];
        this.#calls.clear();
        for (const call of calls) call.onClosed(error);
        this.#closed.resolve(error);
      },
    });
  }

  /**
   * Connects to a unix socket.
   *
   * @throws the socket's error (ENOENT, ECONNREFUSED, EACCES as `code`), the signal's reason.
   */
  static async connect(path: string, options: { signal?: AbortSignal } = {}): Promise<Client> {
    options.signal?.throwIfAborted();
    const socket = connect({ path });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => reject(options.signal?.reason);
    socket.once("connect", resolve);
    socket.once("error", reject);
    options.signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await promise;
    } catch (error) {
      socket.on("error", () => {});
      socket.destroy();
      throw error;
    } finally {
      options.signal?.removeEventListener("abort", onAbort);
      socket.off("connect", resolve);
    }
    // The connection's own error listener comes before this one goes: no error is ever without a listener.
    const client = new Client(socket);
    socket.off("error", reject);
    return client;
  }

  /** Resolves with the cause when the connection has ended, from either side. */
  get closed(): Promise<ConnectionClosedError> {
    return this.#closed.promise;
  }

  /** How many calls wait for an answer. */
  get pending(): number {
    return this.#calls.size;
  }

  /** Closes the connection at once; calls under way reject with ConnectionClosedError. */
  close(): void {
    this.#connection.close("closed by this side");
  }

  /**
   * A unary call.
   *
   * @returns the payload of the answer.
   * @throws TtrpcError with the server's code and message; DEADLINE_EXCEEDED; RESOURCE_EXHAUSTED for a message over 4 MiB in
   * either direction; ConnectionClosedError; the signal's reason.
   */
  async call(service: string, method: string, payload: Uint8Array, options: CallOptions = {}): Promise<Uint8Array> {
    options.signal?.throwIfAborted();
    const answer = Promise.withResolvers<Uint8Array>();
    const id = this.#takeId();
    this.#calls.set(id, {
      onFrame: (frame) => {
        try {
          answer.resolve(responsePayload(frame));
        } catch (error) {
          answer.reject(error);
        }
      },
      onClosed: (error) => answer.reject(closedDuring(service, method, error)),
    });
    const stop = watch(options, `${service}/${method}`, answer.reject);
    try {
      this.#open(id, 0, service, method, payload, options);
      return await answer.promise;
    } finally {
      stop();
      this.#calls.delete(id);
    }
  }

  /** A streaming call. Errors of the call reach the reader of the stream. */
  stream(service: string, method: string, options: StreamOptions): ClientStream {
    options.signal?.throwIfAborted();
    const id = this.#takeId();
    const incoming = new MessageQueue((bytes) => this.#connection.hold(bytes));
    const finish = (error?: Error): void => {
      stop();
      this.#calls.delete(id);
      incoming.end(error);
    };
    const stream = new ClientStream({
      connection: this.#connection,
      id,
      incoming,
      maySend: options.clientStreaming,
      abandon: (reason) => {
        if (!this.#calls.has(id)) return;
        stream.closeSend();
        incoming.drop(reason);
        finish();
      },
    });
    const stop = watch(options, `${service}/${method}`, (reason) => stream.cancel(reason));
    this.#calls.set(id, {
      onFrame: (frame) => onStreamFrame(frame, options.serverStreaming, incoming, finish),
      onClosed: (error) => finish(closedDuring(service, method, error)),
    });
    try {
      this.#open(id, options.clientStreaming ? Flag.remoteOpen : Flag.remoteClosed, service, method, options.request, options);
    } catch (error) {
      finish();
      throw error;
    }
    return stream;
  }

  #open(id: number, flags: number, service: string, method: string, payload: Uint8Array | undefined, options: CallOptions): void {
    const request = encodeRequest({
      service,
      method,
      ...(payload === undefined ? {} : { payload }),
      timeoutNano: options.timeoutMs === undefined ? 0n : BigInt(Math.max(1, Math.ceil(options.timeoutMs * 1e6))),
      metadata: options.metadata ?? noMetadata,
    });
    try {
      void this.#connection.send(id, FrameType.request, flags, request);
    } catch (error) {
      throw error instanceof ConnectionClosedError ? closedDuring(service, method, error) : error;
    }
  }

  /** Ids of a client's streams are odd and grow. */
  #takeId(): number {
    const id = this.#nextId;
    if (id > lastStreamId) throw new TtrpcError(Code.RESOURCE_EXHAUSTED, "the stream ids of this connection are used up: connect again");
    this.#nextId += 2;
    return id;
  }
}

/** The message of the frame that ends a call; throws what the server reported. */
function responsePayload(frame: Frame): Uint8Array {
  if (frame.oversize > 0) {
    throw new TtrpcError(Code.RESOURCE_EXHAUSTED, `the answer of ${frame.oversize} bytes exceeds the limit of a ttrpc message`);
  }
  if (frame.type !== FrameType.response)
    throw new TtrpcError(Code.INTERNAL, `protocol error: frame of type ${frame.type} instead of a response`);
  const { status, payload } = decodeResponse(frame.payload);
  if (status !== undefined && status.code !== Code.OK)
    throw new TtrpcError(status.code, status.message, { details: status.details, fromPeer: true });
  return payload;
}

function onStreamFrame(frame: Frame, serverStreaming: boolean, incoming: MessageQueue, finish: (error?: Error) => void): void {
  try {
    if (frame.type === FrameType.data && frame.oversize === 0 && serverStreaming) {
      if ((frame.flags & Flag.noData) === 0) incoming.push(frame.payload);
      if ((frame.flags & Flag.remoteClosed) !== 0) finish();
      return;
    }
    const payload = responsePayload(frame);
    // A response may end a stream of messages; then its payload is a message only if there is one.
    if (!serverStreaming || payload.length > 0) incoming.push(payload);
    finish();
  } catch (error) {
    finish(TtrpcError.from(error));
  }
}

function closedDuring(service: string, method: string, error: ConnectionClosedError): ConnectionClosedError {
  return new ConnectionClosedError(`${service}/${method}: ${error.message}`, { cause: error });
}
