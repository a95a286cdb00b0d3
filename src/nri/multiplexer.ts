import { Duplex } from "node:stream";
import { CridError } from "../base/errors.ts";

/** Eight bytes: the id of the logical connection, the length of the payload, both big-endian (nri/pkg/net/multiplex). */
const HEADER_LENGTH = 8;
/** A ttrpc frame with its header; no sender makes longer ones. */
const MAX_PAYLOAD = 10 + (4 << 20);
/**
 * The first frame of a longer write. A Go peer reads its logical connection through a buffer of this size and fails when a frame is longer
 * than the room it has; it also fails when more than 256 frames wait. So a write is at most two frames: this much, then all the rest, which
 * such a peer reads straight into the message. It is also what Go's own writer does.
 */
const FIRST_FRAME = 4096;

/** The connection on which the plugin serves, and the one on which the runtime serves. */
export const PLUGIN_SERVICE = 1;
export const RUNTIME_SERVICE = 2;

/** Several logical connections over one: frames of `id, length, payload`. There is no handshake; both sides know the ids. */
export class Multiplexer {
  readonly #trunk: Duplex;
  readonly #channels = new Map<number, Channel>();
  readonly #onBroken: (error: CridError) => void;
  #pending: Buffer[] = [];
  #pendingLength = 0;
  /** The frame whose payload is being read. */
  #frame: { channel: Channel; left: number } | undefined;
  #closed = false;

  /** @param onBroken is told, once, that the peer does not keep to the protocol; the trunk is closed then */
  constructor(trunk: Duplex, ids: readonly number[], onBroken: (error: CridError) => void) {
    this.#trunk = trunk;
    this.#onBroken = onBroken;
    for (const id of ids) this.#channels.set(id, new Channel(id, trunk));
    trunk.on("data", (chunk: Buffer) => this.#read(chunk));
    trunk.on("drain", () => {
      for (const channel of this.#channels.values()) channel.release();
    });
    const onEnd = (): void => this.#end();
    trunk.on("end", onEnd);
    trunk.on("error", onEnd);
    trunk.on("close", onEnd);
  }

  /** The logical connection `id`, one of those given. Ending or destroying it leaves the others open. */
  channel(id: number): Duplex {
    const channel = this.#channels.get(id);
    if (channel === undefined) throw new CridError("internal", `NRI connection: there is no channel ${id}`);
    return channel;
  }

  close(): void {
    this.#end();
    this.#trunk.destroy();
  }

  #read(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#closed) {
      if (this.#frame === undefined) at += this.#readHeader(chunk, at);
      else {
        const part = chunk.subarray(at, at + this.#frame.left);
        at += part.length;
        this.#frame.left -= part.length;
        this.#frame.channel.receive(part);
        if (this.#frame.left === 0) this.#frame = undefined;
      }
    }
  }

  /** @returns how many bytes it took */
  #readHeader(chunk: Buffer, at: number): number {
    const part = chunk.subarray(at, at + HEADER_LENGTH - this.#pendingLength);
    this.#pending.push(part);
    this.#pendingLength += part.length;
    if (this.#pendingLength < HEADER_LENGTH) return part.length;
    const header = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingLength = 0;
    const [id, length] = [header.readUInt32BE(0), header.readUInt32BE(4)];
    const channel = this.#channels.get(id);
    if (channel === undefined) this.#break(`a frame for connection ${id}, of which there is none: what it sends is not NRI's protocol`);
    else if (length > MAX_PAYLOAD) this.#break(`a frame of ${length} bytes, where ${MAX_PAYLOAD} are the most`);
    else if (length > 0) this.#frame = { channel, left: length };
    return part.length;
  }

  #break(why: string): void {
    this.#onBroken(new CridError("data-loss", `it sent ${why}`));
    this.close();
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const channel of this.#channels.values()) channel.peerEnded();
  }
}

class Channel extends Duplex {
  readonly #id: number;
  readonly #trunk: Duplex;
  #waiting: (() => void) | undefined;

  constructor(id: number, trunk: Duplex) {
    super({ allowHalfOpen: false });
    this.#id = id;
    this.#trunk = trunk;
  }

  receive(bytes: Buffer): void {
    if (!this.destroyed && !this.push(bytes)) this.#trunk.pause();
  }

  override _read(): void {
    if (this.#trunk.isPaused()) this.#trunk.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send([chunk], done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#send(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  #send(writes: Buffer[], done: (error?: Error | null) => void): void {
    if (!this.#trunk.writable) {
      done(new CridError("unavailable", "the connection to the plugin is closed"));
      return;
    }
    let room = true;
    this.#trunk.cork();
    for (const bytes of writes) {
      for (const part of bytes.length <= FIRST_FRAME ? [bytes] : [bytes.subarray(0, FIRST_FRAME), bytes.subarray(FIRST_FRAME)]) {
        const header = Buffer.allocUnsafe(HEADER_LENGTH);
        header.writeUInt32BE(this.#id, 0);
        header.writeUInt32BE(part.length, 4);
        this.#trunk.write(header);
        room = this.#trunk.write(part);
      }
    }
    this.#trunk.uncork();
    if (room) done();
    else this.#waiting = done;
  }

  /** The trunk has room again. */
  release(): void {
    const done = this.#waiting;
    this.#waiting = undefined;
    done?.();
  }

  peerEnded(): void {
    this.release();
    if (this.destroyed) return;
    this.push(null);
  }
}
