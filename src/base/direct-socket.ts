import { writeSync, writevSync } from "node:fs";
import { Socket } from "node:net";
import { isErrno } from "./errors.ts";

/** A chunk has so many bytes in front of it that are nobody's, so that a header can be put there and both be sent by one write. */
const FRONT_BYTES = 16;
const READ_BYTES = 128 * 1024;
const space = Buffer.allocUnsafeSlow(FRONT_BYTES + READ_BYTES);
/** All read into the same: a chunk is used up, or copied, before the next read of anybody happens. */
const readBuffer = space.subarray(FRONT_BYTES);

/**
 * A socket or fifo over a descriptor that nobody else reads or writes, for moving much or moving it soon. It reads into one buffer that all
 * share, and writes to the descriptor at once; only what the kernel has no room for is copied and queued. So nothing is left to the garbage
 * collector, whose buffers outside of the heap made a daemon of 90 MiB one of 210, and a byte is on its way without a turn of the loop.
 */
export class DirectSocket {
  /** For events, timeouts, `pause` and `end`. Reading and writing go through this class. */
  readonly socket: Socket;
  readonly #fd: number;
  readonly #gathered: Buffer[] = [];
  #onData: (chunk: Buffer) => void = () => {};
  #paused = true;
  #bytesSent = 0;

  /** The descriptor is owned from now on. Reads nothing until `start`. @param options.allowHalfOpen as for a net.Socket */
  constructor(options: { fd: number; readable: boolean; writable: boolean; allowHalfOpen?: boolean }) {
    this.#fd = options.fd;
    const callback = (length: number): boolean => {
      this.#onData(length === READ_BYTES ? readBuffer : readBuffer.subarray(0, length));
      return !this.#paused;
    };
    // Whatever is queued is waited for: with a high-water mark of 1 "drain" always comes.
    this.socket = new Socket({ ...options, ...{ writableHighWaterMark: 1 }, onread: { buffer: readBuffer, callback } });
    this.socket.pause();
  }

  /** Reads from now on. A chunk is good during the call alone. Once, and the end is the socket's "end". */
  start(onData: (chunk: Buffer) => void): void {
    this.#onData = onData;
    this.resume();
  }

  get paused(): boolean {
    return this.#paused;
  }

  pause(): void {
    this.#paused = true;
    this.socket.pause();
  }

  resume(): void {
    this.#paused = false;
    this.socket.resume();
  }

  /** What went to the kernel without the socket's knowledge, which so takes itself for idle. */
  get bytesSent(): number {
    return this.#bytesSent;
  }

  /**
   * Sends the bytes, which the caller may overwrite afterwards. Answers false when some of them wait in the socket: "drain" tells when they are
   * gone. On a socket that is closed they are dropped.
   */
  write(bytes: Buffer): boolean {
    return this.#send([bytes], bytes.length);
  }

  /** The same for a header and what follows it. */
  writeBoth(header: Buffer, body: Buffer): boolean {
    if (body.buffer !== space.buffer || body.byteOffset < header.length) return this.#send([header, body], header.length + body.length);
    // What stood there is a header of before, or was sent already.
    const start = body.byteOffset - header.length;
    space.set(header, start);
    return this.write(space.subarray(start, start + header.length + body.length));
  }

  /** Keeps the bytes for `flush`, which must come while they are good. */
  gather(bytes: Buffer): void {
    this.#gathered.push(bytes);
  }

  /** As `write`, for all that was gathered. */
  flush(): boolean {
    if (this.#gathered.length === 0) return this.socket.writableLength === 0;
    const list = this.#gathered.splice(0);
    return this.#send(
      list,
      list.reduce((sum, { length }) => sum + length, 0),
    );
  }

  #send(list: Buffer[], total: number): boolean {
    const { socket } = this;
    if (socket.destroyed || socket.writableEnded) return true;
    let sent = 0;
    if (socket.writableLength === 0) {
      try {
        sent = list.length === 1 && list[0] !== undefined ? writeSync(this.#fd, list[0]) : writevSync(this.#fd, list);
      } catch (error) {
        if (!isErrno(error, "EAGAIN")) {
          socket.destroy(error as Error);
          return true;
        }
      }
      this.#bytesSent += sent;
      if (sent === total) return true;
    }
    const rest = list.length === 1 && list[0] !== undefined ? Buffer.from(list[0].subarray(sent)) : Buffer.concat(list).subarray(sent);
    socket.write(rest);
    return socket.writableLength === 0;
  }
}
