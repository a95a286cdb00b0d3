import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CriClient } from "./client.ts";

export type PeerName = "crid" | "containerd";

/** A runtime to be measured: how it is started and where it listens. */
export interface PeerOptions {
  name: PeerName;
  /** Tells several of one name apart. */
  variant?: string;
  argv: string[];
  env: NodeJS.ProcessEnv;
  socket: string;
  /** Where it serves NRI. */
  nriSocket: string;
  /** Its log goes to `<directory>/<name>.log`. */
  directory: string;
}

/** Names this run: pids are those of a namespace, and two runs at a time have the same. */
const run = randomUUID().slice(0, 8);
const cpuacct = "/sys/fs/cgroup/cpuacct";

/** One runtime's daemon. It runs in a cpuacct group of its own, which its shims, plugins and loggers inherit. */
export class Peer {
  readonly name: PeerName;
  readonly client: CriClient;
  readonly nriSocket: string;
  readonly #options: PeerOptions;
  readonly #group: string;
  #child: ChildProcess | undefined;

  constructor(options: PeerOptions) {
    this.name = options.name;
    this.nriSocket = options.nriSocket;
    this.#options = options;
    this.client = new CriClient(options.socket);
    this.#group = join(cpuacct, `crid-bench-${run}-${options.variant ?? options.name}`);
    mkdirSync(this.#group, { recursive: true });
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.name} does not run`);
    return pid;
  }

  /** Starts the daemon; answers the milliseconds until it answered Version. */
  async start(): Promise<number> {
    const { argv, env, directory } = this.#options;
    const log = openSync(join(directory, `${this.name}.log`), "a");
    const [file = "", ...args] = argv;
    const started = performance.now();
    // The shell joins the group before it becomes the daemon, so that nothing is counted elsewhere.
    this.#child = spawn("sh", ["-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', this.#group, file, ...args], {
      env,
      stdio: ["ignore", log, log],
    });
    for (let attempt = 0; attempt < 2000; attempt++) {
      if (this.#child.exitCode !== null) break;
      try {
        using probe = new CriClient(this.#options.socket);
        await probe.version({}, 2_000);
        return performance.now() - started;
      } catch {
        await sleep(5);
      }
    }
    throw new Error(`${this.name} does not answer; see ${join(directory, `${this.name}.log`)}`);
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await gone;
  }

  /** Removes the cpuacct group; what still runs in it is moved to the root group. */
  async close(): Promise<void> {
    this.client[Symbol.dispose]();
    for (let attempt = 0; attempt < 50; attempt++) {
      for (const pid of readFileSync(join(this.#group, "cgroup.procs"), "utf8").split("\n").filter(Boolean)) {
        // It may have ended meanwhile.
        if (existsSync(`/proc/${pid}`)) writeFileSync(join(cpuacct, "cgroup.procs"), pid);
      }
      try {
        return rmdirSync(this.#group);
      } catch {
        await sleep(20);
      }
    }
    process.stderr.write(`${this.#group} is busy and stays\n`);
  }

  /** CPU time of the daemon and of all that it started (shims, runc, plugins, loggers), in ms. Containers are not in it. */
  cpuMs(): number {
    return Number(readFileSync(join(this.#group, "cpuacct.usage"), "utf8")) / 1e6;
  }

  /** Begins a new count of the most memory that the daemon has had at a time. */
  resetPeak(): void {
    writeFileSync(`/proc/${this.pid}/clear_refs`, "5");
  }

  /** In MiB, since the last reset. */
  peakRss(): number {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/status`, "utf8"))?.[1]) / 1024;
  }

  /** Resident and proportional memory of the daemon, and of it with its helpers (logger, shims), in MiB. */
  memory(): { rss: number; pss: number; pssWithHelpers: number } {
    const own = memoryOf(this.pid);
    const all = readFileSync(join(this.#group, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
    return { ...own, pssWithHelpers: all.reduce((sum, pid) => sum + memoryOf(pid).pss, 0) };
  }
}

function memoryOf(pid: number): { rss: number; pss: number } {
  if (!readdirSync("/proc").includes(String(pid))) return { rss: 0, pss: 0 };
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const kib = (key: string): number => Number(new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0);
  return { rss: kib("Rss") / 1024, pss: kib("Pss") / 1024 };
}
