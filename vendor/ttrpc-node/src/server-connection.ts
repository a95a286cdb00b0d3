import type { Duplex } from "node:stream";
import { decodeRequest, encodeResponse, type Request, type Status } from "./codec.ts";
import { Connection } from "./connection.ts";
import { Code, TtrpcError } from "./errors.ts";
import { Flag, type Frame, FrameType } from "./frame.ts";
import type { CallContext, Method, StreamMethod, UnaryHandler } from "./method.ts";
import { MessageQueue, MessageStream } from "./stream.ts";

interface ServerConnectionOptions {
  services: ReadonlyMap<string, ReadonlyMap<string, Method>>;
  onError(error: unknown, call: { service: string; method: string }): void;
  onClosed(): void;
}

/** A call under way. It leaves the map when it is answered; a handler that goes on after that talks to nobody. */
interface Call {
  abort(reason: Error): void;
  /** The caller's messages; undefined for a unary call. */
  incoming: MessageQueue | undefined;
}

const none = new Uint8Array(0);
const maxTimerMs = 0x7fffffff;

/** The server's side of one connection: stream id rules, the calls under way, their answers. */
export class ServerConnection {
  readonly #connection: Connection;
  readonly #options: ServerConnectionOptions;
  readonly #calls = new Map<number, Call>();
  readonly #closed = Promise.withResolvers<void>();
  #lastId = 0;
  #draining = false;

  constructor(socket: Duplex, options: ServerConnectionOptions) {
    this.#options = options;
    this.#connection = new Connection(socket, {
      onFrame: (frame) => this.#onFrame(frame),
      onClosed: (error) => {
        for (const call of this.#calls.values()) call.abort(error);
        this.#calls.clear();
        options.onClosed();
        this.#closed.resolve();
      },
    });
  }

  /** Resolves when the calls under way are answered and the connection is closed. */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#endIfDrained();
    await this.#closed.promise;
  }

  destroy(): void {
    this.#connection.close("closed by the server");
  }

  #onFrame(frame: Frame): void {
    const { streamId } = frame;
    // The rules and their wording are those of Go's server: each breach is answered on the stream id it came with.
    if (frame.oversize > 0) {
      if (frame.type === FrameType.request) this.#lastId = Math.max(this.#lastId, streamId);
      this.#refuse(streamId, Code.RESOURCE_EXHAUSTED, `message length ${frame.oversize} exceeds the limit of a ttrpc message`);
    } else if (streamId % 2 !== 1) {
      this.#refuse(streamId, Code.INVALID_ARGUMENT, "StreamID must be odd for client initiated streams");
    } else if (frame.type === FrameType.request) {
      this.#onRequest(frame);
    } else if (frame.type === FrameType.data) {
      this.#onData(frame);
    }
  }

  #onData(frame: Frame): void {
    const call = this.#calls.get(frame.streamId);
    const hasData = (frame.flags & Flag.noData) === 0;
    const closes = (frame.flags & Flag.remoteClosed) !== 0;
    if (call === undefined) {
      // The end of a stream whose call is answered already is no breach: the two crossed.
      if (hasData || !closes) this.#refuse(frame.streamId, Code.INVALID_ARGUMENT, "StreamID is no longer active");
    } else if (call.incoming === undefined) {
      this.#refuse(frame.streamId, Code.INVALID_ARGUMENT, "data on the stream of a unary call");
    } else if (hasData && call.incoming.ended) {
      this.#refuse(frame.streamId, Code.INVALID_ARGUMENT, "data after the end of the stream");
    } else {
      if (hasData) call.incoming.push(frame.payload);
      if (closes) call.incoming.end();
    }
  }

  #onRequest(frame: Frame): void {
    const { streamId } = frame;
    if (streamId <= this.#lastId) {
      this.#refuse(streamId, Code.INVALID_ARGUMENT, "StreamID cannot be re-used and must increment");
      return;
    }
    this.#lastId = streamId;
    let request: Request;
    try {
      request = decodeRequest(frame.payload);
    } catch (error) {
      this.#answer(streamId, TtrpcError.from(error));
      return;
    }
    const methods = this.#options.services.get(request.service);
    const method = methods?.get(request.method);
    if (this.#draining) this.#refuse(streamId, Code.UNAVAILABLE, "the server is closing");
    else if (methods === undefined) this.#refuse(streamId, Code.UNIMPLEMENTED, `service ${request.service}`);
    else if (method === undefined) this.#refuse(streamId, Code.UNIMPLEMENTED, `method ${request.method}`);
    else if (typeof method === "function") void this.#run(streamId, request, undefined, unary(method, request));
    else this.#runStream(streamId, frame.flags, request, method);
  }

  #runStream(id: number, flags: number, request: Request, method: StreamMethod): void {
    const incoming = new MessageQueue((bytes) => this.#connection.hold(bytes));
    if (request.payload !== undefined || !method.clientStreaming) incoming.push(request.payload ?? none);
    if (!method.clientStreaming || (flags & Flag.remoteOpen) === 0) incoming.end();
    const stream = new ServerStream({ connection: this.#connection, id, incoming, maySend: method.serverStreaming });
    void this.#run(id, request, incoming, async (context) => {
      try {
        const last = await method.handle(stream, context);
        if (!method.serverStreaming) return { type: FrameType.response, flags: 0, payload: encodeResponse({ payload: last ?? none }) };
        return { type: FrameType.data, flags: Flag.remoteClosed | (last === undefined ? Flag.noData : 0), payload: last ?? none };
      } finally {
        stream.finish();
      }
    });
  }

  async #run(
    id: number,
    request: Request,
    incoming: MessageQueue | undefined,
    handle: (context: CallContext) => Promise<Answer>,
  ): Promise<void> {
    const controller = new AbortController();
    const call: Call = {
      incoming,
      abort: (reason) => {
        controller.abort(reason);
        incoming?.drop(reason);
      },
    };
    this.#calls.set(id, call);
    const { service, method, metadata, timeoutNano } = request;
    const timeoutMs = Number(timeoutNano) / 1e6;
    const timer =
      timeoutNano === 0n || timeoutMs > maxTimerMs
        ? undefined
        : setTimeout(() => call.abort(new TtrpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")), Math.max(0, timeoutMs));
    try {
      const answer = await handle({ service, method, metadata, signal: controller.signal });
      if (this.#calls.get(id) === call) this.#send(id, answer);
    } catch (error) {
      this.#options.onError(error, { service, method });
      if (this.#calls.get(id) === call) this.#answer(id, TtrpcError.from(error));
    } finally {
      clearTimeout(timer);
      if (this.#calls.get(id) === call) this.#calls.delete(id);
      // What the caller still had in flight is nobody's now: give its room back.
      incoming?.drop(new TtrpcError(Code.CANCELLED, "the call is answered"));
      this.#endIfDrained();
    }
  }

  /** Ends the stream with an error; its call, if there is one, is over. */
  #refuse(id: number, code: number, message: string): void {
    const error = new TtrpcError(code, message);
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    this.#answer(id, error);
    call?.abort(error);
  }

  #answer(id: number, error: TtrpcError): void {
    const status: Status = { code: error.code === Code.OK ? Code.UNKNOWN : error.code, message: error.message, details: error.details };
    this.#send(id, { type: FrameType.response, flags: 0, payload: encodeResponse({ status, payload: none }) });
  }

  /** Sends the last frame of a stream. One that is too big becomes an error on the same stream. */
  #send(id: number, answer: Answer): void {
    if (this.#connection.closed !== undefined) return;
    try {
      void this.#connection.send(id, answer.type, answer.flags, answer.payload);
    } catch (error) {
      const { code, message } = TtrpcError.from(error);
      const payload = encodeResponse({ status: { code, message, details: [] }, payload: none });
      void this.#connection.send(id, FrameType.response, 0, payload);
    }
  }

  #endIfDrained(): void {
    if (this.#draining && this.#calls.size === 0) this.#connection.end();
  }
}

interface Answer {
  type: number;
  flags: number;
  payload: Uint8Array;
}

/** Stops the handler from sending once its call is answered. */
class ServerStream extends MessageStream {
  finish(): void {
    this.forbidSend();
  }
}

function unary(handler: UnaryHandler, request: Request): (context: CallContext) => Promise<Answer> {
  return async (context) => {
    const payload = await handler(request.payload ?? none, context);
    return { type: FrameType.response, flags: 0, payload: encodeResponse({ payload }) };
  };
}
