import { constants, rmSync } from "node:fs";
import { join } from "node:path";
import { type Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { DirectSocket } from "../base/direct-socket.ts";
import { moveFrom, moveInto } from "../base/direct-streams.ts";
import { isErrno } from "../base/errors.ts";
import { closeFd, mkfifo, openFd } from "../linux/files.ts";

const OPEN_RDWR = constants.O_RDWR | constants.O_NONBLOCK;

/**
 * The fifo of a process' stdout or stderr, read without a thread that blocks. It is open for writing too until `started`: else the reader would see the
 * end before the shim has opened its side. After that the end comes exactly when the last writer is gone.
 */
export class OutputFifo implements Disposable {
  readonly path: string;
  readonly #direct: DirectSocket;
  #keep: number | undefined;

  constructor(path: string) {
    this.path = path;
    mkfifo(path);
    try {
      this.#keep = openFd(path, OPEN_RDWR);
      this.#direct = new DirectSocket({ fd: openFd(path, constants.O_RDONLY | constants.O_NONBLOCK), readable: true, writable: false });
    } catch (error) {
      this.started();
      rmSync(path, { force: true });
      throw error;
    }
  }

  /** The shim has opened its side. */
  started(): void {
    if (this.#keep !== undefined) closeFd(this.#keep);
    this.#keep = undefined;
  }

  /**
   * Moves everything into `sink` at the sink's pace and ends it; resolves at the end of the output. A sink that breaks, or none, costs its output only:
   * the process must not block on a reader that went away.
   */
  async pump(sink: Writable | undefined): Promise<void> {
    try {
      await moveFrom(this.#direct, sink);
    } catch {
      // Closed by us before its end: the drain limit, or an abort.
    } finally {
      if (sink?.writable === true) sink.end();
    }
  }

  /** Whether it stands still because the sink does not keep up. */
  get waits(): boolean {
    return this.#direct.paused;
  }

  [Symbol.dispose](): void {
    this.started();
    this.#direct.socket.destroy();
    rmSync(this.path, { force: true });
  }
}

/** The fifo of a process' stdin. */
export class InputFifo implements Disposable {
  readonly path: string;
  #direct: DirectSocket | undefined;
  #disposed = false;

  /** @param make false for a container's own fifo, which outlives this */
  constructor(path: string, make: boolean) {
    this.path = path;
    if (make) mkfifo(path);
  }

  /**
   * Moves `source` in at the pace of the reader; resolves when all of it is in the fifo, or either side broke.
   *
   * Waits until the shim has opened its side: what is written before that is lost when we close ours.
   */
  async pump(source: Readable, options: { signal: AbortSignal }): Promise<void> {
    const fd = await this.#openWhenRead(options.signal);
    if (fd === undefined) return;
    this.#direct = new DirectSocket({ fd, readable: false, writable: true });
    // Nobody reads on: what is lost then is only input.
    this.#direct.socket.on("error", () => {});
    await moveInto(this.#direct, source);
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#direct?.socket.destroy();
  }

  /** A non-blocking open for writing fails until there is a reader (fifo(7)). */
  async #openWhenRead(signal: AbortSignal): Promise<number | undefined> {
    for (let waitMs = 1; !signal.aborted && !this.#disposed; waitMs = Math.min(waitMs * 2, 50)) {
      try {
        return openFd(this.path, constants.O_WRONLY | constants.O_NONBLOCK);
      } catch (error) {
        if (isErrno(error, "ENOENT")) return undefined;
        if (!isErrno(error, "ENXIO")) throw error;
      }
      await sleep(waitMs, undefined, { signal }).catch(() => {});
    }
    return undefined;
  }
}

/** The fifos of one exec. Disposed: closed and removed. */
export class ExecIo implements Disposable {
  readonly stdin: InputFifo | undefined;
  readonly stdout: OutputFifo;
  readonly stderr: OutputFifo | undefined;
  readonly #all: DisposableStack;

  constructor(directory: string, execId: string, options: { stdin: boolean; tty: boolean }) {
    const path = (name: string): string => join(directory, `${execId}-${name}`);
    using all = new DisposableStack();
    this.stdout = all.use(new OutputFifo(path("stdout")));
    this.stderr = options.tty ? undefined : all.use(new OutputFifo(path("stderr")));
    if (options.stdin) {
      all.defer(() => rmSync(path("stdin"), { force: true }));
      this.stdin = all.use(new InputFifo(path("stdin"), true));
    }
    this.#all = all.move();
  }

  /** Whether some output stands still because its reader on our side does not keep up. */
  get waitsForClient(): boolean {
    return this.stdout.waits || (this.stderr?.waits ?? false);
  }

  /** The shim has opened its sides. */
  started(): void {
    this.stdout.started();
    this.stderr?.started();
  }

  [Symbol.dispose](): void {
    this.#all.dispose();
  }
}

/** Collects up to `limit` bytes; the rest is taken and dropped, so that the writer goes on. */
export class CappedBuffer extends Writable {
  readonly #chunks: Buffer[] = [];
  #left: number;

  constructor(limit: number) {
    super();
    this.#left = limit;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (this.#left > 0) {
      const part = chunk.length > this.#left ? chunk.subarray(0, this.#left) : chunk;
      this.#chunks.push(part);
      this.#left -= part.length;
    }
    done();
  }

  content(): Buffer {
    return Buffer.concat(this.#chunks);
  }
}
