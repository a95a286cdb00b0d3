import type { WriteStream } from "node:tty";
import type { crid } from "../../api/crid/admin/v1/admin.js";
import { bytesText, shortDigest } from "./output.ts";
import { barLine, Canvas } from "./progress-view.ts";

type Pull = InstanceType<typeof crid.admin.v1.Pull>;

/** Shows all pulls while they go on: bars on a terminal, drawn in place; elsewhere a line for each change of a pull or a part of it. */
export class PullsView {
  readonly #stream: WriteStream;
  readonly #canvas: Canvas;
  /** What was said of each pull that goes on, by its name and start. */
  #said = new Map<string, Set<string>>();

  constructor(stream: WriteStream) {
    this.#stream = stream;
    this.#canvas = new Canvas(stream);
  }

  show(pulls: readonly Pull[]): void {
    if (this.#stream.isTTY) this.#canvas.draw(pulls.length === 0 ? ["no pull under way"] : pulls.flatMap(picture));
    else this.#say(pulls);
  }

  #say(pulls: readonly Pull[]): void {
    const said = new Map<string, Set<string>>();
    for (const pull of pulls) {
      const key = `${pull.ref} ${pull.startedAtMs}`;
      const before = this.#said.get(key) ?? new Set();
      said.set(key, before);
      for (const line of linesOf(pull)) {
        if (!before.has(line)) this.#stream.write(`${line}\n`);
        before.add(line);
      }
    }
    for (const key of this.#said.keys()) if (!said.has(key)) this.#stream.write(`${key.slice(0, key.lastIndexOf(" "))}: over\n`);
    this.#said = said;
  }
}

function picture({ ref, startedAtMs, blobs }: Pull): string[] {
  const seconds = Math.max(0, (Date.now() - Number(startedAtMs)) / 1000);
  const bytes = blobs.reduce((sum, blob) => sum + Number(blob.bytes), 0);
  const what = blobs.length === 0 ? "resolving" : `${bytesText(bytes)} in ${seconds.toFixed(0)} s`;
  return [`${ref}: ${what}`, ...blobs.map((blob) => `  ${barLine(blob)}`)];
}

function linesOf({ ref, blobs }: Pull): string[] {
  if (blobs.length === 0) return [`${ref}: resolving`];
  return blobs
    .filter(({ state }) => state !== "waiting")
    .map(({ digest, state, size }) => `${ref}: ${shortDigest(digest)}: ${state} (${bytesText(size)})`);
}
