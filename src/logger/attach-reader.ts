import type { Socket } from "node:net";
import { finished, type Writable } from "node:stream";
import { CridError } from "../base/errors.ts";
import {
  FRAME_END,
  FRAME_ERROR,
  FRAME_HEADER_BYTES,
  FRAME_STDERR,
  FRAME_STDOUT,
  LineReader,
  type LoggerAnswer,
  MAX_FRAME_BYTES,
} from "./protocol.ts";

/**
 * Reads one attachment's connection and passes the output on, at the pace of the slower writable. Does not end the writables.
 *
 * @param onAttached called once the logger passes the output on: whoever types before that may miss the answer
 * @returns when the output has ended.
 * @throws CridError when the logger gave up or went away; the signal's reason when it aborts; a writable's error.
 */
export async function readAttachment(
  socket: Socket,
  outputs: { stdout?: Writable | undefined; stderr?: Writable | undefined },
  { signal, onAttached }: { signal: AbortSignal; onAttached?: (() => void) | undefined },
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const frames = new FrameReader((type, payload) => {
    if (type === FRAME_END) return resolve();
    if (type === FRAME_ERROR) return reject(new CridError("aborted", `attach: ${payload.toString()}`));
    const output = type === FRAME_STDOUT ? outputs.stdout : type === FRAME_STDERR ? outputs.stderr : undefined;
    if (output === undefined || output.write(payload)) return;
    socket.pause();
    output.once("drain", () => socket.resume());
  });
  const lines = new LineReader(MAX_FRAME_BYTES + FRAME_HEADER_BYTES);
  let answered = false;
  const onData = (chunk: Buffer): void => {
    try {
      if (answered) return frames.push(chunk);
      // The answer's line may have frames behind it in the same chunk.
      const end = chunk.indexOf(10);
      const [line] = lines.push(end < 0 ? chunk : chunk.subarray(0, end + 1));
      if (line === undefined) return;
      answered = true;
      const answer = JSON.parse(line) as LoggerAnswer;
      if (answer.error !== undefined) throw new CridError(answer.error.kind, answer.error.message);
      onAttached?.();
      frames.push(chunk.subarray(end + 1));
    } catch (error) {
      reject(error);
    }
  };
  const onAbort = (): void => reject(signal.reason);
  const onClose = (): void => reject(new CridError("unavailable", "attach: the logger went away"));
  const offs = [outputs.stdout, outputs.stderr].map((output) => {
    if (output === undefined) return () => {};
    return finished(output, { readable: false }, (error) =>
      reject(error ?? new CridError("canceled", "attach: nobody takes the output any more")),
    );
  });
  signal.addEventListener("abort", onAbort, { once: true });
  socket.on("data", onData);
  socket.on("close", onClose);
  try {
    signal.throwIfAborted();
    await promise;
  } finally {
    signal.removeEventListener("abort", onAbort);
    for (const off of offs) off();
    socket.destroy();
  }
}

/** Cuts a byte stream into frames. */
export class FrameReader {
  readonly #onFrame: (type: number, payload: Buffer) => void;
  #rest: Buffer = Buffer.alloc(0);

  constructor(onFrame: (type: number, payload: Buffer) => void) {
    this.#onFrame = onFrame;
  }

  /** @throws CridError for a frame that no logger sends. */
  push(chunk: Buffer): void {
    let data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (data.length >= FRAME_HEADER_BYTES) {
      const length = data.readUInt32BE(1);
      if (length > MAX_FRAME_BYTES) throw new CridError("internal", `attach: a frame of ${length} bytes`);
      const end = FRAME_HEADER_BYTES + length;
      if (data.length < end) break;
      this.#onFrame(data[0] ?? 0, data.subarray(FRAME_HEADER_BYTES, end));
      data = data.subarray(end);
    }
    this.#rest = data;
  }
}
