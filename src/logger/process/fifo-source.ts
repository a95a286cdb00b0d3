import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { Socket } from "node:net";
import { CridError } from "../../base/errors.ts";

/** Called with a chunk; the bytes are overwritten after it returns. */
export type ChunkHandler = (chunk: Uint8Array, length: number) => void;

/**
 * The reading end of a fifo that a shim writes to, on the event loop: no thread waits in read(2).
 *
 * End of output: a fifo opened for reading reports its end only when it has had a writer and has none left. So a writer of our
 * own (O_RDWR) is opened first; it keeps the fifo's content and stands in for the shim until the shim's Create
 * has returned, by when the shim holds both ends. `dropWriter` then leaves the real writers alone with it, and `onEnd` comes
 * exactly when the last of them is gone and every byte was read.
 */
export class FifoSource {
  readonly #socket: Socket;
  #writerFd: number;
  #paused = false;
  #ended = false;

  /**
   * @param options.readBuffer shared by all sources: a chunk is used up before the next read happens.
   * @throws CridError when the path cannot be opened or is no fifo.
   */
  constructor(options: {
    path: string;
    readBuffer: Uint8Array;
    onChunk: ChunkHandler;
    onEnd: () => void;
    onError: (error: Error) => void;
  }) {
    const { path, readBuffer } = options;
    this.#writerFd = openFifo(path, constants.O_RDWR);
    let fd: number;
    try {
      fd = openFifo(path, constants.O_RDONLY);
    } catch (error) {
      closeSync(this.#writerFd);
      throw error;
    }
    this.#socket = new Socket({
      fd,
      readable: true,
      writable: false,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          options.onChunk(readBuffer, length);
          return !this.#paused;
        },
      },
    });
    this.#socket.on("error", options.onError);
    this.#socket.on("close", () => {
      this.dropWriter();
      if (this.#ended) return;
      this.#ended = true;
      options.onEnd();
    });
    this.#socket.resume();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Stops or goes on reading. May be called from within `onChunk`. */
  setPaused(paused: boolean): void {
    if (paused === this.#paused) return;
    this.#paused = paused;
    if (this.#ended) return;
    if (paused) this.#socket.pause();
    else this.#socket.resume();
  }

  /** The shim holds the fifo: from now on its end of output counts. */
  dropWriter(): void {
    if (this.#writerFd < 0) return;
    closeSync(this.#writerFd);
    this.#writerFd = -1;
  }

  /** Stops reading for good, without `onEnd`. What is in the fifo stays there for another reader. */
  close(): void {
    this.#ended = true;
    this.dropWriter();
    this.#socket.destroy();
  }
}

/** Neither mode waits for the other end with O_NONBLOCK. Anything but a fifo would block the loop or end at once, so it is refused. */
function openFifo(path: string, mode: number): number {
  let fd: number;
  try {
    fd = openSync(path, mode | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    throw CridError.from(error, `open fifo ${path}`);
  }
  if (fstatSync(fd).isFIFO()) return fd;
  closeSync(fd);
  throw new CridError("failed-precondition", `open fifo ${path}: it is not a fifo`);
}
