import { type ChildProcess, execFile, spawn } from "node:child_process";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const repo = join(import.meta.dirname, "../../..");
const tools = join(repo, ".tools");
const run = promisify(execFile);

/** The repositories whose images the test registry holds; each is a mirror's name in crid's configuration. */
const mirrored = ["registry.k8s.io", "gcr.io", "k8s.gcr.io", "docker.io", "public.ecr.aws"];

export interface NodeOptions {
  /** Shim generation: 2.4 unless told. */
  shim?: "1.6" | "1.7" | "2.4";
  /** Merged over the configuration that a test gets. */
  config?: Record<string, unknown>;
  /** The CNI conflist; undefined = a bridge, null = none. */
  conflist?: object | null;
}

export interface CommandResult {
  status: number;
  stdout: string;
  stderr: string;
}

let nodes = 0;

/**
 * A crid daemon with a root, state, socket, bridge and subnet of its own, driven by the unmodified crictl. The tests run in
 * namespaces of their own (hack/isolated).
 */
export class TestNode {
  readonly directory: string;
  readonly socket: string;
  readonly confDir: string;
  /** Where it serves NRI. */
  readonly nriSocket: string;
  readonly cgroup: string;
  readonly #env: NodeJS.ProcessEnv;
  #child: ChildProcess | undefined;
  /** Where the running daemon's part of the log begins. */
  #logStart = 0;

  constructor(options: NodeOptions = {}) {
    if (process.env.REGISTRY === undefined) throw new Error("end-to-end tests run in hack/isolated: use hack/test-e2e");
    this.directory = mkdtempSync(join(tmpdir(), "crid-e2e-"));
    this.socket = join(this.directory, "state/crid.sock");
    this.nriSocket = join(this.directory, "nri.sock");
    this.confDir = join(this.directory, "net.d");
    const serial = ++nodes;
    this.cgroup = `/crid-e2e-${process.pid}-${serial}-${Date.now() % 1e6}`;
    this.#env = { ...process.env, PATH: `${join(tools, "bin")}:${process.env.PATH ?? ""}` };
    // The root of a user namespace is nobody to the host, and must get through to its rootfs.
    chmodSync(this.directory, 0o711);
    mkdirSync(this.confDir);
    if (options.conflist !== null) this.writeConflist(options.conflist ?? this.#bridge(serial));
    writeFileSync(join(this.directory, "config.yaml"), JSON.stringify({ ...this.#config(options), ...options.config }));
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error("the daemon does not run");
    return pid;
  }

  get log(): string {
    return readFileSync(join(this.directory, "crid.log"), "utf8");
  }

  get config(): Record<string, unknown> {
    return JSON.parse(readFileSync(join(this.directory, "config.yaml"), "utf8")) as Record<string, unknown>;
  }

  /** Replaces top-level keys of the configuration; the next start takes them. */
  mergeConfig(more: object): void {
    writeFileSync(join(this.directory, "config.yaml"), JSON.stringify({ ...this.config, ...more }));
  }

  writeConflist(conflist: object): void {
    writeFileSync(join(this.confDir, "10-test.conflist"), JSON.stringify(conflist));
  }

  /** Starts the daemon and waits until it answers. */
  async start(options: { failpoints?: string; softOpenFiles?: number } = {}): Promise<void> {
    const log = openSync(join(this.directory, "crid.log"), "a");
    this.#logStart = this.log.length;
    const env = options.failpoints === undefined ? this.#env : { ...this.#env, CRID_FAILPOINTS: options.failpoints };
    const limit = options.softOpenFiles === undefined ? ":" : `ulimit -Sn ${options.softOpenFiles}`;
    const command = [join(repo, "dist/bin/crid"), "serve", "--config", join(this.directory, "config.yaml")];
    this.#child = spawn("sh", ["-c", `${limit}; exec "$@"`, "sh", ...command], { env, stdio: ["ignore", log, log] });
    closeSync(log);
    for (let attempt = 0; attempt < 400; attempt++) {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) break;
      if (await accepts(this.socket)) return;
      await sleep(25);
    }
    throw new Error(`crid does not serve:\n${this.log}`);
  }

  /** Waits until the running daemon has mended what it found; it serves from its store before that. */
  async recovered(): Promise<void> {
    for (let attempt = 0; attempt < 400; attempt++) {
      if (this.log.slice(this.#logStart).includes("recovery is done")) return;
      await sleep(25);
    }
    throw new Error(`recovery does not end:\n${this.log}`);
  }

  /** Ends the daemon: SIGTERM for an orderly stop, SIGKILL for a crash. Pods stay. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await gone;
  }

  /** Waits for the daemon to end by itself (a failpoint that crashes it). */
  async died(timeoutMs = 20_000): Promise<void> {
    const child = this.#child;
    for (let waited = 0; waited < timeoutMs; waited += 20) {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) {
        this.#child = undefined;
        return;
      }
      await sleep(20);
    }
    throw new Error("the daemon did not end");
  }

  /** Runs crictl; does not throw on a failing command. */
  async tryCrictl(...args: string[]): Promise<CommandResult> {
    return this.command(join(tools, "bin/crictl"), [
      "--timeout",
      "60s",
      "-r",
      `unix://${this.socket}`,
      "-i",
      `unix://${this.socket}`,
      ...args,
    ]);
  }

  /** Runs crictl; answers its output without the last newline. @throws with crictl's error text when it fails */
  async crictl(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.tryCrictl(...args);
    if (status !== 0) throw new Error(`crictl ${args.join(" ")}: ${stderr}`);
    return stdout.trimEnd();
  }

  /** `crictl ... -o json`, parsed. */
  async json<T>(...args: string[]): Promise<T> {
    // crictl takes no flags behind an id.
    const [command = "", ...rest] = args;
    return JSON.parse(await this.crictl(command, "-o", "json", ...rest)) as T;
  }

  async command(file: string, args: string[]): Promise<CommandResult> {
    try {
      const { stdout, stderr } = await run(file, args, { env: this.#env, maxBuffer: 64 << 20 });
      return { status: 0, stdout, stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as { code?: number; stdout?: string; stderr?: string };
      return { status: typeof code === "number" ? code : 1, stdout: stdout ?? "", stderr: stderr ?? String(error) };
    }
  }

  /** Writes a pod or container configuration for crictl and answers its path. */
  file(name: string, content: object | string): string {
    const path = join(this.directory, name);
    writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
    return path;
  }

  /** Stops everything, then asserts that nothing is left but the root directory, and removes that. */
  async close(): Promise<void> {
    try {
      if (this.#child === undefined) await this.start();
      for (const id of (await this.crictl("pods", "-q")).split("\n").filter(Boolean)) await this.crictl("rmp", "-f", id);
      const left = await this.leftovers();
      if (left.length > 0) throw new Error(`left behind after every pod was removed:\n${left.join("\n")}\n\ncrid's log:\n${this.log}`);
    } finally {
      await this.stop();
      await this.#endLogger();
      rmSync(this.directory, { recursive: true, force: true });
    }
  }

  async #endLogger(): Promise<void> {
    for (const pid of processes((command) => command.includes("logger") && command.includes(this.directory))) process.kill(pid, "SIGTERM");
    for (let attempt = 0; attempt < 100 && processes((command) => command.includes(this.directory)).length > 0; attempt++) await sleep(20);
  }

  /** What pods and containers left outside of the store: mounts, processes, cgroups, addresses, fifos, directories. Once no pod is left. */
  async leftovers(): Promise<string[]> {
    const found: string[] = [];
    const state = join(this.directory, "state");
    for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
      const point = line.split(" ")[4];
      // The netns pool is the daemon's own stock.
      if (point?.startsWith(this.directory) === true && !point.includes("/netns/.pool-")) found.push(`mount ${point}`);
    }
    for (const pid of processes((command) => command.includes("containerd-shim-runc") && command.includes(this.directory)))
      found.push(`shim ${pid}`);
    for (const pid of processes((command) => command.startsWith("/pause"))) {
      if (cgroupsOf(pid).includes(this.cgroup)) found.push(`pause ${pid}`);
    }
    for (const controller of readdirSync("/sys/fs/cgroup")) {
      const path = join("/sys/fs/cgroup", controller, this.cgroup);
      if (existsSync(path))
        found.push(
          ...readdirSync(path, { withFileTypes: true })
            .filter((entry) => entry.isDirectory())
            .map((entry) => `cgroup ${path}/${entry.name}`),
        );
    }
    const ipam = join(this.directory, "ipam");
    if (existsSync(ipam))
      found.push(
        ...readdirSync(ipam, { recursive: true })
          .map(String)
          .filter((name) => /\d+\.\d+\.\d+\.\d+$/.test(name))
          .map((name) => `address ${name}`),
      );
    const fds = readdirSync(`/proc/${this.pid}/fd`).length;
    if (fds > 120) found.push(`${fds} open files in the daemon`);
    for (const base of [state, join(this.directory, "root")]) {
      for (const name of readdirSync(base, { recursive: true }).map(String))
        if (/(^|\/)[0-9a-f]{64}($|[./-])/.test(name) && !name.startsWith("content/")) found.push(`${base}/${name}`);
    }
    return found;
  }

  #config(options: NodeOptions): Record<string, unknown> {
    const shim =
      options.shim === undefined || options.shim === "2.4"
        ? "bin/containerd-shim-runc-v2"
        : `shims/${options.shim}/containerd-shim-runc-v2`;
    const mirrors = Object.fromEntries(mirrored.map((host) => [host, { endpoints: [`http://${process.env.REGISTRY ?? ""}`] }]));
    return {
      root: join(this.directory, "root"),
      state: join(this.directory, "state"),
      log: { level: "debug", format: "text" },
      grpc: { address: this.socket },
      metrics: { address: "" },
      runtime: { handlers: { runc: { shim: join(tools, shim), binary: join(tools, "bin/runc") } } },
      cni: { binDirs: [join(tools, "cni/bin")], confDir: this.confDir },
      registry: { mirrors },
      nri: { socket: this.nriSocket, pluginDir: join(this.directory, "nri-plugins"), pluginConfDir: join(this.directory, "nri-conf.d") },
    };
  }

  #bridge(serial: number): object {
    const subnet = `10.${77 + serial}.0.0/16`;
    return {
      cniVersion: "1.0.0",
      name: `e2e-${serial}`,
      plugins: [
        {
          type: "bridge",
          bridge: `e2e${process.pid % 100000}n${serial}`,
          isGateway: true,
          ipam: { type: "host-local", dataDir: join(this.directory, "ipam"), ranges: [[{ subnet }]], routes: [{ dst: "0.0.0.0/0" }] },
        },
        { type: "portmap", capabilities: { portMappings: true } },
      ],
    };
  }
}

/** Pids whose command line satisfies the predicate. The tests have a pid namespace of their own. */
export function processes(matches: (command: string) => boolean): number[] {
  const found: number[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    try {
      if (matches(readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " "))) found.push(Number(name));
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

function cgroupsOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, "utf8");
  } catch {
    return "";
  }
}

function accepts(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socket);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
}
