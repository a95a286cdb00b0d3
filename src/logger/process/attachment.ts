import type { Socket } from "node:net";
import { encodeFrame, FRAME_END, FRAME_ERROR, FRAME_STDERR, FRAME_STDOUT } from "../protocol.ts";
import type { LogStream } from "./cri-format.ts";

/** How much may wait for one reader before its container is slowed down to its pace. */
const HIGH_WATER = 1024 * 1024;
const LOW_WATER = 512 * 1024;

/**
 * One reader of a container's live output. A reader that is merely slow slows the container down, as a terminal does: so a
 * `kubectl attach` into a file loses nothing, and interrupting a flood is felt at once. One that has stopped reading (a sleeping
 * laptop, a stopped daemon) is given up after `stallMs` without progress, and the container and its log go on. containerd waits
 * for ever.
 */
export class Attachment {
  readonly #socket: Socket;
  readonly #wants: Record<LogStream, boolean>;
  readonly #onChange: () => void;
  readonly #stallMs: number;
  /** Frames that the socket was not given yet: it gets one at a time, so that each one taken shows as progress. */
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #sending = false;
  #ending: Buffer | undefined;
  #stall: NodeJS.Timeout | undefined;

  /** @param options.onChange called when `blocked` has changed, or the reader has gone. */
  constructor(options: { socket: Socket; stdout: boolean; stderr: boolean; stallMs?: number; onChange: () => void }) {
    this.#socket = options.socket;
    this.#wants = { stdout: options.stdout, stderr: options.stderr };
    this.#onChange = options.onChange;
    this.#stallMs = options.stallMs ?? 5_000;
    this.#socket.on("error", () => {});
    this.#socket.on("close", () => {
      this.#forget();
      this.#onChange();
    });
    // The reader sends nothing; reading is what notices that it has gone.
    this.#socket.resume();
  }

  /** The container should not be read for now. */
  get blocked(): boolean {
    return this.#stall !== undefined;
  }

  get gone(): boolean {
    return this.#socket.destroyed || this.#ending !== undefined;
  }

  /** Copies the chunk: it may be overwritten afterwards. */
  write(stream: LogStream, chunk: Uint8Array): void {
    if (this.gone || !this.#wants[stream]) return;
    const frame = encodeFrame(stream === "stdout" ? FRAME_STDOUT : FRAME_STDERR, chunk);
    this.#waiting.push(frame);
    this.#waitingBytes += frame.length;
    this.#pump();
    if (this.blocked || this.#waitingBytes < HIGH_WATER) return;
    const reason = `the reader took nothing for ${this.#stallMs} ms while output was waiting for it; the output goes on in the log`;
    this.#stall = setTimeout(() => this.fail(reason), this.#stallMs);
  }

  /** The output has ended: what waits is still sent. */
  end(): void {
    if (this.gone) return;
    this.#ending = encodeFrame(FRAME_END, new Uint8Array(0));
    this.#pump();
  }

  /** Gives the reader up. What waits for it is thrown away; it is told, in case that it wakes up. */
  fail(reason: string): void {
    if (this.gone) return;
    this.#ending = encodeFrame(FRAME_ERROR, Buffer.from(reason));
    this.#forget();
    const timer = setTimeout(() => this.#socket.destroy(), this.#stallMs);
    this.#socket.on("close", () => clearTimeout(timer));
    this.#pump();
    this.#onChange();
  }

  #pump(): void {
    if (this.#sending) return;
    const frame = this.#waiting.shift();
    if (frame === undefined) {
      if (this.#ending !== undefined) this.#socket.end(this.#ending);
      return;
    }
    this.#sending = true;
    this.#waitingBytes -= frame.length;
    this.#socket.write(frame, () => {
      this.#sending = false;
      this.#stall?.refresh();
      this.#pump();
      if (this.#waitingBytes > LOW_WATER || !this.blocked) return;
      clearTimeout(this.#stall);
      this.#stall = undefined;
      this.#onChange();
    });
  }

  #forget(): void {
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
    clearTimeout(this.#stall);
    this.#stall = undefined;
  }
}
