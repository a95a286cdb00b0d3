import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

// The demonstration behind `npm start`: see hack/start. Steps and commands are printed as an operator would type them.
const repo = join(import.meta.dirname, "..");
const base = join(repo, ".crid");
const tools = join(repo, ".tools");
const socket = join(base, "state/crid.sock");
const bridge = "crid-start0";
const subnet = "10.87.0.0/24";
const image = "registry.k8s.io/e2e-test-images/busybox:1.29-2";
const crictl = [join(tools, "bin/crictl"), "-r", `unix://${socket}`, "-i", `unix://${socket}`, "--timeout", "30s"];
const forwarding = "/proc/sys/net/ipv4/ip_forward";

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Runs crictl and shows the command and what it printed. */
function show(...args: string[]): string {
  say(`\n$ crictl ${args.map((arg) => (arg.startsWith(base) ? relative(repo, arg) : arg)).join(" ")}`);
  const [file = "", ...options] = crictl;
  const { status, stdout, stderr } = spawnSync(file, [...options, ...args], { encoding: "utf8" });
  process.stdout.write(stdout);
  if (status !== 0) throw new Error(`crictl ${args[0]} failed: ${stderr}`);
  return stdout.trim();
}

/** Runs crictl without showing it; a failure is an empty answer. */
function quiet(...args: string[]): string {
  const [file = "", ...options] = crictl;
  return spawnSync(file, [...options, ...args], { encoding: "utf8" }).stdout.trim();
}

function writeFiles(registry: string): { config: string; pod: string; container: string } {
  mkdirSync(join(base, "net.d"), { recursive: true });
  mkdirSync(join(base, "logs"), { recursive: true });
  const write = (name: string, content: object): string => {
    const path = join(base, name);
    writeFileSync(path, `${JSON.stringify(content, undefined, 2)}\n`);
    return path;
  };
  write("net.d/10-bridge.conflist", {
    cniVersion: "1.0.0",
    name: "crid-start",
    plugins: [
      {
        type: "bridge",
        bridge,
        isGateway: true,
        ipMasq: true,
        ipam: { type: "host-local", dataDir: join(base, "ipam"), ranges: [[{ subnet }]], routes: [{ dst: "0.0.0.0/0" }] },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  });
  return {
    config: write("config.yaml", {
      root: join(base, "root"),
      state: join(base, "state"),
      log: { level: "info", format: "text" },
      grpc: { address: socket },
      metrics: { address: "" },
      runtime: { handlers: { runc: { shim: join(tools, "bin/containerd-shim-runc-v2"), binary: join(tools, "bin/runc") } } },
      cni: { binDirs: [join(tools, "cni/bin")], confDir: join(base, "net.d") },
      registry: { mirrors: { "registry.k8s.io": { endpoints: [`http://${registry}`] } } },
    }),
    pod: write("pod.json", {
      metadata: { name: "hello", namespace: "default", uid: "hello-1", attempt: 1 },
      log_directory: join(base, "logs"),
      linux: { cgroup_parent: "/crid-start" },
    }),
    container: write("container.json", {
      metadata: { name: "greeter", attempt: 1 },
      image: { image },
      command: ["sh", "-c", 'echo "hello from $(hostname), $(ip -o -4 addr show eth0 | cut -d" " -f7)"; exec sleep 1000000'],
      log_path: "greeter.log",
      linux: {},
    }),
  };
}

async function serve(config: string): Promise<ChildProcess> {
  const log = openSync(join(base, "crid.log"), "a");
  // A process group of its own: Ctrl-C in the terminal is for this script, which then stops the daemon in order.
  const daemon = spawn(join(repo, "dist/bin/crid"), ["serve", "--config", config], { stdio: ["ignore", log, log], detached: true });
  for (let attempt = 0; attempt < 200 && daemon.exitCode === null; attempt++) {
    if (existsSync(socket) && quiet("version") !== "") return daemon;
    await sleep(50);
  }
  throw new Error(`crid does not serve; its log:\n${readFileSync(join(base, "crid.log"), "utf8")}`);
}

async function demonstrate(files: { pod: string; container: string }): Promise<void> {
  show("version");
  show("pull", image);
  const pod = show("runp", files.pod);
  const container = show("create", "--no-pull", pod, files.container, files.pod);
  show("start", container);
  show("pods");
  show("ps");
  for (let attempt = 0; attempt < 50 && quiet("logs", container) === ""; attempt++) await sleep(20);
  show("logs", container);
  show("exec", "--sync", container, "sh", "-c", "id; cat /etc/resolv.conf | head -n 3");
}

async function cleanUp(daemon: ChildProcess | undefined, registryFolder: string, hadForwarding: string): Promise<void> {
  say("\nremoving the pod, its network and the daemon ...");
  for (const id of quiet("pods", "-q").split("\n").filter(Boolean)) quiet("rmp", "-f", id);
  if (daemon?.pid !== undefined && daemon.exitCode === null) {
    const gone = new Promise((resolve) => daemon.once("exit", resolve));
    daemon.kill("SIGTERM");
    await gone;
  }
  spawnSync(join(repo, "dist/bin/crid"), ["logger", "--stop", "--state", join(base, "state")]);
  spawnSync("bash", [join(repo, "hack/registry"), "stop", registryFolder]);
  spawnSync("ip", ["link", "delete", bridge], { stdio: "ignore" });
  writeFileSync(forwarding, hadForwarding);
  spawnSync("sh", ["-c", "for c in /sys/fs/cgroup/*/crid-start /sys/fs/cgroup/crid-start; do [ -d $c ] && rmdir $c; done"], {
    stdio: "ignore",
  });
  rmSync(base, { recursive: true, force: true });
  say("done");
}

const hadForwarding = readFileSync(forwarding, "utf8");
const registryFolder = join(base, "registry");
let daemon: ChildProcess | undefined;
let asked = false;
const interrupted = new Promise<void>((resolve) => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      asked = true;
      resolve();
    });
  }
});
try {
  if (existsSync(socket) && quiet("version") !== "") throw new Error(`another npm start serves on ${socket}; end that one first`);
  rmSync(base, { recursive: true, force: true });
  mkdirSync(base);
  const registry = execFileSync("bash", [join(repo, "hack/registry"), "start", registryFolder], { encoding: "utf8" }).trim();
  const files = writeFiles(registry);
  daemon = await serve(files.config);
  await demonstrate(files);
  say(`\ncrid serves on ${socket}; its log is ${relative(process.cwd(), join(base, "crid.log"))}. Try, in another terminal:`);
  say(`\n  ${crictl.slice(0, 3).join(" ")} ps\n`);
  say("Ctrl-C ends it and removes everything.");
  if (!asked) {
    // A pending promise alone does not keep a process alive.
    const alive = setInterval(() => undefined, 60_000);
    await Promise.race([interrupted, new Promise((resolve) => daemon?.once("exit", resolve))]);
    clearInterval(alive);
  }
} catch (error) {
  say(`\nnpm start failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await cleanUp(daemon, registryFolder, hadForwarding);
}
