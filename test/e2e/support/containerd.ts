import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runs, runWithInput } from "./commands.ts";

const tools = join(import.meta.dirname, "../../../.tools");

/** A containerd with a root of its own and without its CRI, driven by ctr: a peer that reads and writes image archives. */
export class Containerd implements AsyncDisposable {
  readonly #socket: string;
  readonly #child: ChildProcess;

  private constructor(socket: string, child: ChildProcess) {
    this.#socket = socket;
    this.#child = child;
  }

  static async start(directory: string): Promise<Containerd> {
    mkdirSync(directory, { recursive: true });
    const socket = join(directory, "containerd.sock");
    const config = join(directory, "config.toml");
    writeFileSync(
      config,
      `version = 3
root = ${JSON.stringify(join(directory, "root"))}
state = ${JSON.stringify(join(directory, "state"))}
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.nri.v1.nri"]
[grpc]
  address = ${JSON.stringify(socket)}
`,
    );
    const logFile = join(directory, "containerd.log");
    const log = openSync(logFile, "a");
    const child = spawn(join(tools, "bin/containerd"), ["--config", config], { stdio: ["ignore", log, log] });
    closeSync(log);
    const started = new Containerd(socket, child);
    for (let attempt = 0; attempt < 200 && child.exitCode === null; attempt++) {
      if ((await runWithInput(join(tools, "bin/ctr"), ["--address", socket, "version"])).status === 0) return started;
      await sleep(50);
    }
    throw new Error(`containerd does not serve:\n${readFileSync(logFile, "utf8").slice(-3000)}`);
  }

  /** Runs ctr. @throws with its error text */
  async ctr(...args: string[]): Promise<string> {
    return runs(join(tools, "bin/ctr"), "--address", this.#socket, "-n", "k8s.io", ...args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGTERM");
    await gone;
  }
}
