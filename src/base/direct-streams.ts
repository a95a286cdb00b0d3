import { finished, Readable, Writable } from "node:stream";
import { promisify } from "node:util";
import type { DirectSocket } from "./direct-socket.ts";

const untilFinished = promisify(finished);

/** A Writable that can take a chunk by the way, without its queue. */
export abstract class DirectWritable extends Writable {
  /**
   * Takes a chunk that is good during the call alone, after what was written before. Answers false when the writer should wait for
   * "drain", which then comes.
   */
  abstract take(chunk: Buffer): boolean;
}

/** Where a DirectReadable's chunks go. */
export interface Sink {
  /** A chunk that is good until `flush` has returned. */
  take(chunk: Buffer): void;
  /** No more come for now. Answers false when there is enough. */
  flush(): boolean;
  end(): void;
}

/** A Readable whose chunks can be had as they come, without its queue: good during the call alone, and by nobody to be collected. */
export class DirectReadable extends Readable {
  readonly #onRoom: () => void;
  #sink: Sink | undefined;
  #over = false;

  /** @param onRoom called when there is room again after `deliver` or `flush` answered false; or often. */
  constructor(onRoom: () => void) {
    super();
    this.#onRoom = onRoom;
    this.on("error", () => {});
  }

  /** From the source. Copies the chunk if need be. Answers false when there is enough for now. */
  deliver(chunk: Buffer): boolean {
    if (this.#over || this.destroyed) return true;
    if (this.#sink === undefined) return this.push(Buffer.from(chunk));
    this.#sink.take(chunk);
    return true;
  }

  /** After some chunks, before their bytes are overwritten. */
  flush(): boolean {
    return this.destroyed || this.#sink === undefined || this.#sink.flush();
  }

  /** No more comes. */
  finish(): void {
    if (this.#over || this.destroyed) return;
    this.#over = true;
    if (this.#sink === undefined) this.push(null);
    else this.#sink.end();
  }

  /** Gives all chunks to the sink, those first that wait here; after that it is no Readable any more. `room` says that the sink takes more. */
  divert(sink: Sink): { room: () => void } {
    for (let chunk: unknown = this.read(); chunk !== null; chunk = this.read()) sink.take(chunk as Buffer);
    this.#sink = sink;
    if (sink.flush()) this.#onRoom();
    if (this.#over) sink.end();
    return { room: this.#onRoom };
  }

  override _read(): void {
    if (this.#sink === undefined) this.#onRoom();
  }
}

/**
 * Moves `source` into the socket at the pace of its reader, and ends the socket with it. Resolves when all of it was taken, or either
 * side broke.
 */
export async function moveInto(socket: DirectSocket, source: Readable): Promise<void> {
  const target = socket.socket;
  if (source instanceof DirectReadable) {
    const { room } = source.divert({
      take: (chunk) => socket.gather(chunk),
      flush: () => socket.flush(),
      end: () => {
        socket.flush();
        target.end();
      },
    });
    target.on("drain", room).on("close", room);
  } else {
    source.pipe(target);
  }
  await untilFinished(target, { readable: false }).catch(() => {});
  source.unpipe(target);
}

/**
 * Moves everything that the socket reads into `sink` at the sink's pace; resolves at the end, and leaves the ending of `sink` to the caller. A sink that
 * breaks, or none, costs its output only: it is read on, and dropped.
 *
 * @throws the socket's error, when it breaks
 */
export async function moveFrom(socket: DirectSocket, sink: Writable | undefined): Promise<void> {
  let target = sink;
  const drop = (): void => {
    target = undefined;
    socket.resume();
  };
  const resume = (): void => socket.resume();
  sink?.on("error", drop).on("close", drop).on("drain", resume);
  socket.start((chunk) => {
    if (target === undefined) return;
    const room = target instanceof DirectWritable ? target.take(chunk) : target.write(Buffer.from(chunk));
    // It may have broken by that.
    if (!room && target !== undefined) socket.pause();
  });
  try {
    await untilFinished(socket.socket, { writable: false });
  } finally {
    sink?.off("drain", resume).off("close", drop);
  }
}
