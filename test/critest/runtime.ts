import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const repo = join(import.meta.dirname, "../..");
const tools = join(repo, ".tools");
const mirrored = ["registry.k8s.io", "gcr.io", "k8s.gcr.io", "docker.io", "public.ecr.aws"];

export type RuntimeName = "crid" | "containerd";

/** The runtime under test: one daemon with a root, a state, a bridge and a subnet of its own below `directory`. */
export class Runtime {
  readonly name: RuntimeName;
  readonly socket: string;
  /** Where it serves NRI. */
  readonly nriSocket: string;
  readonly logFile: string;
  readonly #argv: string[];
  readonly #directory: string;
  #child: ChildProcess | undefined;

  /** @param registry `host:port` of the registry that has the test images */
  constructor(options: { name: RuntimeName; directory: string; registry: string }) {
    const { name, directory, registry } = options;
    mkdirSync(join(directory, "net.d"), { recursive: true });
    writeFileSync(join(directory, "net.d/10-critest.conflist"), JSON.stringify(conflist(join(directory, "ipam"))));
    this.name = name;
    this.#directory = directory;
    this.socket = join(directory, `${name}.sock`);
    this.nriSocket = join(directory, "nri/nri.sock");
    this.logFile = join(directory, `${name}.log`);
    this.#argv =
      name === "crid"
        ? crid(directory, this.socket, this.nriSocket, registry)
        : containerd(directory, this.socket, this.nriSocket, registry);
  }

  /** @throws with the end of its log when it does not accept connections within 20 s */
  async start(): Promise<void> {
    const log = openSync(this.logFile, "a");
    const [file = "", ...args] = this.#argv;
    this.#child = spawn(file, args, {
      stdio: ["ignore", log, log],
      env: { ...process.env, PATH: `${join(tools, "bin")}:${process.env.PATH ?? ""}` },
    });
    closeSync(log);
    for (let attempt = 0; attempt < 400 && this.running; attempt++) {
      // NRI comes last: crid looks first at what runs.
      if ((await accepts(this.socket)) && (await accepts(this.nriSocket))) return;
      await sleep(50);
    }
    throw new Error(`${this.name} does not serve:\n${readFileSync(this.logFile, "utf8").split("\n").slice(-30).join("\n")}`);
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What is left once critest has removed its pods: mounts of pods, shims and what runs in them. The namespaces are ours alone. */
  leftovers(): string[] {
    const mounts = readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .flatMap((line) => line.split(" ")[4] ?? [])
      // The pool of network namespaces is the daemon's own stock.
      .filter((point) => point.startsWith(`${this.#directory}/`) && !point.includes("/netns/.pool-"))
      .map((point) => `mount ${point}`);
    const processes = readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => ({ pid, command: commandOf(pid) }))
      .filter(({ command }) => /containerd-shim|^\/pause|^runc /.test(command))
      .map(({ pid, command }) => `process ${pid}: ${command}`);
    return [...mounts, ...processes];
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.running) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await gone;
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
  } catch {
    return ""; // It ended while we looked.
  }
}

function conflist(dataDir: string): object {
  return {
    cniVersion: "1.0.0",
    name: "critest",
    plugins: [
      {
        type: "bridge",
        bridge: "critest0",
        isGateway: true,
        ipMasq: true,
        ipam: { type: "host-local", dataDir, ranges: [[{ subnet: "10.88.0.0/16" }]], routes: [{ dst: "0.0.0.0/0" }] },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
}

function crid(directory: string, socket: string, nriSocket: string, registry: string): string[] {
  const config = join(directory, "config.yaml");
  writeFileSync(
    config,
    JSON.stringify({
      root: join(directory, "root"),
      state: join(directory, "state"),
      log: { level: "debug", format: "text" },
      grpc: { address: socket },
      metrics: { address: "127.0.0.1:0" },
      runtime: { handlers: { runc: { shim: join(tools, "bin/containerd-shim-runc-v2"), binary: join(tools, "bin/runc") } } },
      cni: { binDirs: [join(tools, "cni/bin")], confDir: join(directory, "net.d") },
      registry: { mirrors: Object.fromEntries(mirrored.map((host) => [host, { endpoints: [`http://${registry}`] }])) },
      nri: { socket: nriSocket, pluginDir: join(directory, "nri/plugins"), pluginConfDir: join(directory, "nri/conf.d") },
    }),
  );
  return [join(repo, "dist/bin/crid"), "serve", "--config", config];
}

/** Configured as facts/critest.md says: without `restrict_oom_score_adj` most specs fail where CAP_SYS_RESOURCE is missing. */
function containerd(directory: string, socket: string, nriSocket: string, registry: string): string[] {
  const certs = join(directory, "certs.d");
  for (const host of mirrored) {
    mkdirSync(join(certs, host), { recursive: true });
    writeFileSync(
      join(certs, host, "hosts.toml"),
      `server = "http://${registry}"\n[host."http://${registry}"]\ncapabilities = ["pull", "resolve"]\n`,
    );
  }
  const config = join(directory, "config.toml");
  const quoted = (...path: string[]): string => JSON.stringify(join(...path));
  writeFileSync(
    config,
    `version = 3
root = ${quoted(directory, "root")}
state = ${quoted(directory, "state")}
[grpc]
  address = ${quoted(socket)}
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = [${quoted(tools, "cni/bin")}]
    conf_dir = ${quoted(directory, "net.d")}
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = ${quoted(tools, "bin/runc")}
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "registry.k8s.io/pause:3.9"
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = ${quoted(certs)}
[plugins.'io.containerd.grpc.v1.cri']
  stream_server_port = "0"
[plugins.'io.containerd.nri.v1.nri']
  socket_path = ${quoted(nriSocket)}
  plugin_path = ${quoted(directory, "nri/plugins")}
  plugin_config_path = ${quoted(directory, "nri/conf.d")}
`,
  );
  return [join(tools, "bin/containerd"), "--config", config];
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
