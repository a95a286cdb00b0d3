import type { WriteStream } from "node:tty";
import type { crid } from "../../api/crid/admin/v1/admin.js";
import { bytesText, shortDigest } from "./output.ts";

type Pull = InstanceType<typeof crid.admin.v1.Pull>;
type Blob = InstanceType<typeof crid.admin.v1.Blob>;

/** Shows how far something is. */
export interface ProgressView {
  /** One state of it: its title, and the parts if they are known. */
  show(title: string, pull: Pull | null | undefined): void;
  /** It is over: a terminal keeps the last picture if it went well. */
  end(): void;
}

/** Bars on a terminal, a line for each change elsewhere, nothing when nobody wants it. */
export function progressView(stream: WriteStream, how: { quiet: boolean }): ProgressView {
  if (how.quiet) return { show() {}, end() {} };
  return stream.isTTY ? new BarView(stream) : new LineView(stream);
}

const barWidth = 30;

/** Lines on a terminal that are drawn anew in place. */
export class Canvas {
  readonly #stream: WriteStream;
  #drawn = 0;

  constructor(stream: WriteStream) {
    this.#stream = stream;
  }

  /** In place of the last picture, cut to what the screen can hold. */
  draw(all: readonly string[]): void {
    const lines = fitted(all, this.#stream.rows).map((line) => line.slice(0, this.#stream.columns - 1));
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : "";
    this.#stream.write(`${up}${lines.map((line) => `\x1b[2K${line}\n`).join("")}\x1b[0J`);
    this.#drawn = lines.length;
  }

  /** The last picture stays; the next goes below it. */
  end(): void {
    this.#drawn = 0;
  }
}

/** One line a layer, as those know it who come from docker or ctr. */
class BarView implements ProgressView {
  readonly #canvas: Canvas;
  readonly #started = Date.now();

  constructor(stream: WriteStream) {
    this.#canvas = new Canvas(stream);
  }

  show(title: string, pull: Pull | null | undefined): void {
    this.#canvas.draw([title, ...layersOf(pull).map(barLine), this.#summary(pull)]);
  }

  end(): void {
    this.#canvas.end();
  }

  #summary(pull: Pull | null | undefined): string {
    const seconds = (Date.now() - this.#started) / 1000;
    const bytes = layersOf(pull).reduce((sum, blob) => sum + Number(blob.bytes), 0);
    const rate = seconds > 0 ? bytesText(Math.round(bytes / seconds)) : "0 B";
    return `elapsed: ${seconds.toFixed(1)} s   total: ${bytesText(bytes)} (${rate}/s)`;
  }
}

/** A part with its bar. */
export function barLine({ digest, state, bytes, size }: Blob): string {
  const share = Number(size) === 0 ? 1 : Number(bytes) / Number(size);
  const filled = Math.min(barWidth, Math.floor(share * barWidth));
  const bar = `${"=".repeat(filled)}${filled < barWidth ? ">" : ""}`.padEnd(barWidth).slice(0, barWidth);
  const amount = state === "downloading" ? `${bytesText(bytes)} / ${bytesText(size)}` : bytesText(size);
  return `${shortDigest(digest)}: ${state.padEnd(11)} [${bar}] ${amount}`;
}

/** What a screen of this height can hold: cursor movements do not reach what has scrolled away. */
function fitted(lines: readonly string[], rows: number): string[] {
  const room = Math.max(3, rows - 1);
  if (lines.length <= room) return [...lines];
  const shown = lines.slice(0, room - 2);
  return [...shown, `... and ${lines.length - 1 - shown.length} more`, lines.at(-1) ?? ""];
}

/** A line for each change of a layer's state. */
class LineView implements ProgressView {
  readonly #stream: WriteStream;
  readonly #said = new Set<string>();

  constructor(stream: WriteStream) {
    this.#stream = stream;
  }

  show(title: string, pull: Pull | null | undefined): void {
    this.#say(title);
    for (const { digest, state, size } of layersOf(pull)) {
      if (state !== "waiting") this.#say(`layer ${shortDigest(digest)}: ${state} (${bytesText(size)})`);
    }
  }

  end(): void {}

  #say(line: string): void {
    if (this.#said.has(line)) return;
    this.#said.add(line);
    this.#stream.write(`${line}\n`);
  }
}

function layersOf(pull: Pull | null | undefined): readonly Blob[] {
  return pull?.blobs ?? [];
}
