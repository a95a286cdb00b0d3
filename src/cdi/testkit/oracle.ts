import { type ChildProcessByStdio, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";

const tools = join(import.meta.dirname, "../../../.tools");
const binary = join(tools, "bin/deviceoracle");

/** For `test(..., { skip })`. */
export const noOracle: string | false = existsSync(binary) ? false : "needs hack/build-tools deviceoracle";

export interface OracleAnswer {
  ok: boolean;
  error?: string;
  result?: unknown;
}

/** The specs in the Go library's own tests, good and bad. */
export function goTestSpecs(): string[] {
  return JSON.parse(readFileSync(join(tools, "cdi-specs.json"), "utf8")) as string[];
}

/** The Go libraries that containerd uses, as a process that answers one question after the other: hack/tools/deviceoracle. */
export class Oracle implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: Interface;
  readonly #waiting: ((line: string) => void)[] = [];

  constructor() {
    this.#child = spawn(binary, { stdio: ["pipe", "pipe", "ignore"] });
    this.#lines = createInterface({ input: this.#child.stdout });
    this.#lines.on("line", (line) => this.#waiting.shift()?.(line));
  }

  ask(request: {
    op: "name" | "spec" | "inject" | "devices" | "quantity" | "blockio";
    text?: string;
    dirs?: readonly string[];
    devices?: readonly string[];
    spec?: object;
  }): Promise<OracleAnswer> {
    return new Promise((resolve, reject) => {
      this.#waiting.push((line) => resolve(JSON.parse(line) as OracleAnswer));
      this.#child.once("error", reject);
      this.#child.stdin.write(`${JSON.stringify(request)}\n`, () => this.#child.off("error", reject));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin.end();
    await gone;
    this.#lines.close();
  }
}
