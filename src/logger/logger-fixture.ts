import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { silentLogger } from "../base/log.ts";
import { mkfifo } from "../linux/files.ts";
import { LoggerClient } from "./logger-client.ts";
import { LoggerConnection } from "./logger-connection.ts";

const runLoggerUrl = pathToFileURL(join(import.meta.dirname, "process", "run-logger.ts")).href;

/** For tests: a state folder of its own, with a real logger process when a client asks for one. Disposing ends the process. */
export class LoggerFixture implements AsyncDisposable {
  readonly dir: string;
  readonly #clients: LoggerClient[] = [];

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async make(): Promise<LoggerFixture> {
    return new LoggerFixture(await mkdtemp(join(tmpdir(), "crid-logger-")));
  }

  /** argv of a logger without the CLI. */
  command(protocolVersion?: number): string[] {
    const options = protocolVersion === undefined ? "" : `, protocolVersion: ${protocolVersion}`;
    const script = `import { runLogger } from ${JSON.stringify(runLoggerUrl)}; await runLogger({ stateDir: process.argv[1]${options} });`;
    return [process.execPath, "--input-type=module", "-e", script, this.dir];
  }

  client(options: { maxLineSize?: number; protocolVersion?: number } = {}): LoggerClient {
    const { maxLineSize = 16 * 1024, protocolVersion } = options;
    const client = new LoggerClient({ stateDir: this.dir, command: this.command(protocolVersion), log: silentLogger(), maxLineSize });
    this.#clients.push(client);
    return client;
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  fifo(name: string): string {
    const path = this.path(name);
    mkfifo(path);
    return path;
  }

  async pid(): Promise<number> {
    const connection = await LoggerConnection.open(this.path("logger.sock"));
    try {
      return (await connection.call("hello", {})).pid;
    } finally {
      connection.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.disconnect();
    const connection = await LoggerConnection.open(this.path("logger.sock")).catch(() => undefined);
    if (connection !== undefined) {
      const { pid } = await connection.call("hello", {});
      await connection.call("shutdown", {}).catch(() => {});
      connection.close();
      await gone(pid);
    }
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** Waits until the process is gone, at most 5 s. */
export async function gone(pid: number): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await delay(10);
  }
  throw new Error(`process ${pid} is still there`);
}

/** The contents of a log's records joined as the kubelet joins them, for one stream. */
export async function readLog(path: string, stream: "stdout" | "stderr" = "stdout"): Promise<string> {
  const text = await readFile(path, "latin1");
  if (text !== "" && !text.endsWith("\n")) throw new Error(`${path} ends in the middle of a record`);
  let all = "";
  for (const line of text.split("\n").slice(0, -1)) {
    const match = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([PF]) (.*)$/s.exec(line);
    if (match === null) throw new Error(`${path}: not a record: ${JSON.stringify(line.slice(0, 200))}`);
    if (match[1] === stream) all += `${match[3]}${match[2] === "F" ? "\n" : ""}`;
  }
  return all;
}
