import type { Readable, Writable } from "node:stream";
import type { Outcome } from "./status.ts";
import type { TerminalSize } from "./terminal-sizes.ts";

/** Which streams the CRI request asked for. */
export interface WantedStreams {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

/**
 * One client's exec or attach, whatever protocol it speaks. The streams are those that were wanted.
 *
 * When the client goes away before `finish`, stdin and the sizes end, the outputs are destroyed, and `gone` aborts.
 */
export interface RemoteSession {
  readonly stdin: Readable | undefined;
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  readonly sizes: AsyncIterable<TerminalSize> | undefined;
  readonly gone: AbortSignal;
  /** Ends the outputs, tells the client how it ended, and closes the connection once all of it was sent. */
  finish(outcome: Outcome): Promise<void>;
}
