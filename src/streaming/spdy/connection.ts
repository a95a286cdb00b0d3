import {
  dataHeader,
  type Frame,
  FrameParser,
  GoAwayStatus,
  goAway,
  ping,
  ResetStatus,
  reset,
  SpdyError,
  synReply,
  windowUpdate,
} from "./frames.ts";
import { HeaderDecoder, HeaderEncoder } from "./header-block.ts";
import { SpdyStream, type StreamConnection } from "./stream.ts";
import type { Transport } from "./transport.ts";

/** SPDY/3.1's initial window, of a stream and of the session (2.6.8). */
const DEFAULT_WINDOW = 64 * 1024;
const MAX_WINDOW = 0x7fff_ffff;
/** The peer is told that it may send more in steps of this size. */
const CREDIT_STEP = 32 * 1024;
/** Answers (to pings and the like) that wait for a client that does not read. */
const MAX_WAITING_BYTES = 1024 * 1024;
/** After the end was sent the client may take this long to close its side. Closing under bytes on their way would reset the connection. */
const LINGER_MS = 5_000;

interface Waiting {
  stream: SpdyStream;
  payload: Buffer;
  flags: number;
  done: (error?: Error | null) => void;
}

/**
 * The server's side of a SPDY/3.1 connection as Kubernetes uses it: the client opens streams, both send data.
 *
 * Flow control. Go's spdystream (the kubelet, crictl, client-go) knows no windows: it neither sends WINDOW_UPDATE nor looks at ours. So
 * a send window is kept only towards a client that has shown, by SETTINGS or WINDOW_UPDATE, that it does flow control. In the
 * other direction every client is granted what was read, which Go ignores and others need. What holds a client back
 * in any case is TCP: while one stream's reader is full, the connection is not read (as in the reference server).
 */
export class SpdyConnection implements StreamConnection {
  readonly #transport: Transport;
  readonly #maxStreams: number;
  readonly #onStream: (stream: SpdyStream) => void;
  readonly #decoder = new HeaderDecoder();
  readonly #encoder = new HeaderEncoder();
  readonly #streams = new Map<number, SpdyStream>();
  readonly #held = new Set<SpdyStream>();
  /** Those that got some of the chunk that is being read. */
  readonly #touched = new Set<SpdyStream>();
  readonly #closed = Promise.withResolvers<void>();
  readonly #onDrain: (() => void)[] = [];
  #waiting: Waiting[] = [];
  #lastStreamId = 0;
  #sessionCredit = 0;
  #flowControl = false;
  #initialWindow = DEFAULT_WINDOW;
  #sessionWindow = DEFAULT_WINDOW;
  #state: "open" | "ending" | "gone" = "open";
  #linger: NodeJS.Timeout | undefined;

  /** @param options.onStream called with each stream the client opens, which is already accepted; may reset it. */
  constructor(options: { transport: Transport; maxStreams: number; onStream: (stream: SpdyStream) => void }) {
    this.#transport = options.transport;
    this.#maxStreams = options.maxStreams;
    this.#onStream = options.onStream;
    const parser = new FrameParser((frame) => this.#take(frame));
    const { stream } = this.#transport;
    stream.on("drain", () => {
      for (const next of this.#onDrain.splice(0)) next();
      this.#settlePace();
    });
    stream.on("end", () => this.#lost());
    stream.on("error", () => this.#lost());
    stream.on("close", () => this.#lost());
    this.#transport.start((chunk) => {
      if (this.#state !== "open") return;
      try {
        parser.push(chunk);
      } catch (error) {
        this.close(error instanceof SpdyError ? error.status : GoAwayStatus.internalError);
      }
      for (const touched of this.#touched) touched.flush();
      this.#touched.clear();
    });
  }

  /** Resolves when the connection is gone, whoever ended it. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Neither closed nor lost yet. */
  get open(): boolean {
    return this.#state === "open";
  }

  /** Resets what is still open, says goodbye, and closes once everything was sent. */
  close(status: number = GoAwayStatus.ok): void {
    if (this.#state !== "open") return;
    for (const stream of this.#streams.values()) {
      if (status === GoAwayStatus.ok) stream.reset();
      else stream.broken();
    }
    this.#state = "ending";
    this.#failWaiting();
    const { stream } = this.#transport;
    stream.end(goAway(this.#lastStreamId, status));
    this.#transport.resume();
    const linger = (): void => {
      this.#linger = setTimeout(() => stream.destroy(), LINGER_MS);
    };
    // The time runs from the moment that the last byte has left: a slow client takes what it needs for the rest.
    if (stream.writableFinished) linger();
    else stream.once("finish", linger);
  }

  /** Drops the connection at once. */
  destroy(): void {
    this.#transport.stream.destroy();
    this.#lost();
  }

  sendData(stream: SpdyStream, payload: Buffer, flags: number, done: (error?: Error | null) => void): void {
    if (this.#state === "open" && !this.#flowControl) return this.#send({ stream, payload, flags, done });
    this.#waiting.push({ stream, payload: Buffer.from(payload), flags, done });
    this.#pump();
  }

  sendReset(stream: SpdyStream, status: number): void {
    if (this.#state === "open") this.#answer(reset(stream.id, status));
  }

  hold(stream: SpdyStream, held: boolean): void {
    if (held) this.#held.add(stream);
    else this.#held.delete(stream);
    this.#settlePace();
  }

  credit(stream: SpdyStream, bytes: number): void {
    stream.receiveCredit += bytes;
    this.#sessionCredit += bytes;
    if (this.#state !== "open") return;
    if (stream.receiveCredit >= CREDIT_STEP) {
      if (!stream.closed) this.#answer(windowUpdate(stream.id, stream.receiveCredit));
      stream.receiveCredit = 0;
    }
    if (this.#sessionCredit >= CREDIT_STEP) {
      this.#answer(windowUpdate(0, this.#sessionCredit));
      this.#sessionCredit = 0;
    }
  }

  forget(stream: SpdyStream): void {
    this.#streams.delete(stream.id);
    this.#held.delete(stream);
  }

  #take(frame: Frame): void {
    if (this.#state !== "open") return;
    switch (frame.type) {
      case "data":
        return this.#takeData(frame.streamId, frame.payload, frame.fin);
      case "syn-stream":
        return this.#takeStream(frame);
      case "headers":
        // Of no use here, but it moves the decompressor on.
        this.#decoder.decode(frame.block);
        return this.#takeData(frame.streamId, Buffer.alloc(0), frame.fin);
      case "syn-reply":
        throw new SpdyError("protocol", "a SYN_REPLY, but a server opens no streams");
      case "reset":
        this.#streams.get(frame.streamId)?.broken();
        return;
      case "ping":
        // Odd ids are the client's; an even one would answer a ping that was never sent.
        if (frame.id % 2 === 1) this.#answer(ping(frame.id));
        return;
      case "settings":
        return this.#peerWindow(frame.initialWindow);
      case "window-update":
        return this.#widen(frame.streamId, frame.delta);
      case "goaway":
        // The client opens no more streams; those that are open go on, and the transport's end follows.
        return;
    }
  }

  #takeStream(frame: Frame & { type: "syn-stream" }): void {
    const { streamId: id } = frame;
    const headers = this.#decoder.decode(frame.block);
    if (id % 2 === 0 || id <= this.#lastStreamId) throw new SpdyError("protocol", `stream ${id} after stream ${this.#lastStreamId}`);
    this.#lastStreamId = id;
    if (this.#streams.size >= this.#maxStreams) {
      this.#answer(reset(id, ResetStatus.refusedStream));
      throw new SpdyError("protocol", `more than ${this.#maxStreams} streams`);
    }
    const stream = new SpdyStream({
      id,
      headers,
      connection: this,
      sendWindow: this.#initialWindow,
      remoteClosed: frame.fin,
      localClosed: frame.unidirectional,
    });
    if (!stream.closed) this.#streams.set(id, stream);
    if (!frame.unidirectional) this.#answer(synReply(id, this.#encoder.empty()));
    this.#onStream(stream);
  }

  #takeData(id: number, payload: Buffer, fin: boolean): void {
    const stream = this.#streams.get(id);
    if (stream !== undefined) {
      if (payload.length > 0) this.#touched.add(stream);
      if (!stream.receive(payload, fin)) throw new SpdyError("protocol", `data on stream ${id} after its end`);
      return;
    }
    // On a stream that was reset or is closed: on its way when that happened. It counts for the session's window all the same.
    if (id > this.#lastStreamId) throw new SpdyError("protocol", `data on stream ${id}, which was never opened`);
    this.#sessionCredit += payload.length;
  }

  #peerWindow(initial: number | undefined): void {
    this.#flowControl = true;
    if (initial === undefined) return;
    for (const stream of this.#streams.values()) stream.sendWindow += initial - this.#initialWindow;
    this.#initialWindow = initial;
    this.#pump();
  }

  #widen(id: number, delta: number): void {
    this.#flowControl = true;
    if (id === 0) {
      this.#sessionWindow += delta;
      if (this.#sessionWindow > MAX_WINDOW) throw new SpdyError("protocol", "a session window over 2 GiB");
    } else {
      const stream = this.#streams.get(id);
      if (stream === undefined) return;
      stream.sendWindow += delta;
      if (stream.sendWindow > MAX_WINDOW) return stream.reset(ResetStatus.protocolError);
    }
    this.#pump();
  }

  /** Sends what waits, in each stream's order, as far as the peer's windows allow. */
  #pump(): void {
    const kept: Waiting[] = [];
    const stopped = new Set<SpdyStream>();
    for (const item of this.#waiting.splice(0)) {
      if (this.#state !== "open") {
        item.done(new Error("the client is gone"));
        continue;
      }
      const allowed = stopped.has(item.stream) ? -1 : Math.max(0, Math.min(item.stream.sendWindow, this.#sessionWindow));
      if (item.payload.length <= allowed) {
        this.#send(item);
        continue;
      }
      stopped.add(item.stream);
      kept.push(allowed <= 0 ? item : this.#sendPart(item, allowed));
    }
    this.#waiting = kept.concat(this.#waiting);
  }

  #sendPart(item: Waiting, bytes: number): Waiting {
    this.#send({ ...item, payload: item.payload.subarray(0, bytes), flags: 0, done: () => {} });
    return { ...item, payload: item.payload.subarray(bytes) };
  }

  #send({ stream, payload, flags, done }: Waiting): void {
    const { length } = payload;
    // Counted for everybody: a client may show only later that it does flow control.
    stream.sendWindow -= length;
    this.#sessionWindow -= length;
    const header = dataHeader(stream.id, length, flags);
    const room = length === 0 ? this.#transport.send(header) : this.#transport.send(header, payload);
    if (room) done();
    else this.#onDrain.push(done);
  }

  #answer(frame: Buffer): void {
    this.#transport.send(frame);
    this.#settlePace();
  }

  #settlePace(): void {
    if (this.#state === "gone") return;
    const pause = this.#state === "open" && (this.#held.size > 0 || this.#transport.stream.writableLength > MAX_WAITING_BYTES);
    if (pause !== this.#transport.paused) this.#transport[pause ? "pause" : "resume"]();
  }

  #failWaiting(): void {
    const gone = new Error("the client is gone");
    for (const { done } of this.#waiting.splice(0)) done(gone);
    for (const done of this.#onDrain.splice(0)) done();
  }

  #lost(): void {
    if (this.#state === "gone") return;
    this.#state = "gone";
    clearTimeout(this.#linger);
    this.#transport.stream.destroy();
    for (const stream of this.#streams.values()) stream.broken();
    this.#failWaiting();
    this.#closed.resolve();
  }
}
