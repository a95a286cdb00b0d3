import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { lookAtMachine, type MachineBefore, restoreMachine } from "./start-machine.ts";

// The demonstration behind `npm start`: see hack/start. Steps and commands are printed as an operator would type them.
// All that it makes has this checkout's mark in its name, so that two checkouts do not meet.

const repo = join(import.meta.dirname, "..");
const mark = createHash("sha256").update(repo).digest("hex").slice(0, 6);
const base = join(repo, ".crid");
const tools = join(repo, ".tools");
const crid = join(repo, "dist/bin/crid");
// The shims' sockets lie in <state>/s, whose path may have 42 characters (see src/shim/shim-sockets.ts).
const state = join(base, "state/s").length <= 42 ? join(base, "state") : `/run/crid-start-${mark}`;
const socket = join(state, "crid.sock");
const config = join(base, "config.yaml");
const logFile = join(base, "crid.log");
const registryFolder = join(base, "registry");
const noteFile = join(base, "start.json");
const network = `crid-start-${mark}`;
const marks = { bridge: `crid-${mark}`, network, cgroup: network, dirs: [base, state] };
const image = "registry.k8s.io/e2e-test-images/busybox:1.29-2";

/** What a start notes before it makes anything, so that the next one can clean up after it. */
interface Note {
  pid: number;
  /** Field 22 of /proc/PID/stat: a pid alone may be another process by then. */
  started: string;
  before: MachineBefore;
}

const abort = new AbortController();
let cleaning = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    if (cleaning) say("(still removing; a moment)");
    else abort.abort();
  });
}
// The terminal may be closed before everything is removed.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function short(path: string): string {
  return path.startsWith(repo) ? relative(process.cwd(), path) : path;
}

/** Runs crictl; while cleaning up out of Ctrl-C's reach. */
async function crictl(args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn(join(tools, "bin/crictl"), ["--config", join(base, "crictl.yaml"), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
    ...(!cleaning && { signal: abort.signal }),
  });
  const read = async (stream: NodeJS.ReadableStream): Promise<string> => {
    let text = "";
    for await (const chunk of stream) text += String(chunk);
    return text;
  };
  const ended = new Promise<number | null>((resolve, reject) => child.once("error", reject).once("close", resolve));
  const [status, stdout, stderr] = await Promise.all([ended, read(child.stdout), read(child.stderr)]);
  return { status, stdout, stderr };
}

/** Shows the command and what it printed. */
async function show(...args: string[]): Promise<string> {
  say(`\n$ crictl ${args.map((arg) => (arg.startsWith("/") ? short(arg) : /[ ;$]/.test(arg) ? `'${arg}'` : arg)).join(" ")}`);
  const { status, stdout, stderr } = await crictl(args);
  process.stdout.write(stdout);
  if (status !== 0) throw new Error(`crictl ${args[0]} failed: ${stderr}`);
  return stdout.trim();
}

/** A failure is an empty answer. */
async function quiet(...args: string[]): Promise<string> {
  return (await crictl(args)).stdout.trim();
}

async function serves(): Promise<boolean> {
  return existsSync(socket) && (await quiet("version")) !== "";
}

function write(name: string, content: object): string {
  const path = join(base, name);
  writeFileSync(path, `${JSON.stringify(content, undefined, 2)}\n`);
  return path;
}

function writeFiles(registry: string): { pod: string; container: string } {
  mkdirSync(join(base, "net.d"), { recursive: true });
  mkdirSync(join(base, "logs"), { recursive: true });
  const ipam = {
    type: "host-local",
    dataDir: join(base, "ipam"),
    ranges: [[{ subnet: `10.87.${Number.parseInt(mark.slice(0, 2), 16)}.0/24` }]],
  };
  write("net.d/10-bridge.conflist", {
    cniVersion: "1.0.0",
    name: network,
    plugins: [
      { type: "bridge", bridge: marks.bridge, isGateway: true, ipMasq: true, ipam: { ...ipam, routes: [{ dst: "0.0.0.0/0" }] } },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  });
  const shim = join(tools, "bin/containerd-shim-runc-v2");
  write("config.yaml", {
    root: join(base, "root"),
    state,
    log: { level: "info", format: "text" },
    metrics: { address: "" },
    runtime: { handlers: { runc: { shim, binary: join(tools, "bin/runc") } } },
    cni: { binDirs: [join(tools, "cni/bin")], confDir: join(base, "net.d") },
    // It has the images of several registries; what it does not have comes from where it is.
    registry: { mirrors: { "*": { endpoints: [`http://${registry}`] } } },
    nri: { enabled: false },
  });
  write("crictl.yaml", { "runtime-endpoint": `unix://${socket}`, "image-endpoint": `unix://${socket}`, timeout: 30 });
  return {
    pod: write("pod.json", {
      metadata: { name: "hello", namespace: "default", uid: "hello-1", attempt: 1 },
      hostname: "hello",
      log_directory: join(base, "logs"),
      linux: { cgroup_parent: `/${marks.cgroup}` },
    }),
    container: write("container.json", {
      metadata: { name: "greeter", attempt: 1 },
      image: { image },
      command: ["sh", "-c", 'echo "hello from $(hostname), $(ip -o -4 addr show eth0 | cut -d" " -f7)"; exec sleep 1000000'],
      log_path: "greeter.log",
      // Where crictl looks for the pod's name; the kubelet sets them too.
      labels: { "io.kubernetes.pod.name": "hello", "io.kubernetes.pod.namespace": "default" },
      linux: {},
    }),
  };
}

async function serve(): Promise<ChildProcess> {
  const log = openSync(logFile, "a");
  // A process group of its own: Ctrl-C in the terminal is for this script, which then stops the daemon in order.
  const daemon = spawn(crid, ["serve", "--config", config], { stdio: ["ignore", log, log], detached: true });
  closeSync(log);
  for (let attempt = 0; attempt < 200 && daemon.exitCode === null && !abort.signal.aborted; attempt++) {
    if (await serves()) return daemon;
    await sleep(50);
  }
  if (daemon.exitCode === null && (await serves())) return daemon;
  daemon.kill("SIGTERM");
  abort.signal.throwIfAborted();
  throw new Error(`crid does not serve; the end of its log:\n${logEnd()}`);
}

function logEnd(): string {
  return readFileSync(logFile, "utf8").split("\n").slice(-15).join("\n");
}

async function demonstrate(files: { pod: string; container: string }): Promise<void> {
  await show("version");
  await show("pull", image);
  await show("images");
  const pod = await show("runp", files.pod);
  const container = await show("create", "--no-pull", pod, files.container, files.pod);
  await show("start", container);
  await show("pods");
  await show("ps");
  for (let attempt = 0; attempt < 50 && (await quiet("logs", container)) === ""; attempt++) await sleep(20);
  await show("logs", container);
  await show("exec", "--sync", container, "sh", "-c", "id; cat /etc/resolv.conf | head -n 3");
}

/** The daemon that holds the root's lock, whoever started it. */
function runningDaemon(): number | undefined {
  try {
    const pid = Number(readFileSync(join(base, "root/crid.lock"), "utf8").trim());
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(config) ? pid : undefined;
  } catch {
    return undefined;
  }
}

async function stopDaemon(): Promise<void> {
  const pid = runningDaemon();
  if (pid === undefined) return;
  process.kill(pid, "SIGTERM");
  for (let attempt = 0; runningDaemon() === pid; attempt++) {
    await sleep(50);
    if (attempt === 400) process.kill(pid, "SIGKILL");
  }
}

/** Everything that this or an earlier start has made. @throws when a pod stays; then .crid stays, too */
async function removeAll(before: MachineBefore): Promise<void> {
  cleaning = true;
  const hasPods = existsSync(join(base, "root/meta.db"));
  // Pods are removed by the daemon, also after one that died: only it knows what belongs to them.
  if (hasPods && !(await serves())) await serve();
  for (const id of hasPods ? (await quiet("pods", "-q")).split("\n").filter(Boolean) : []) {
    const { status, stderr } = await crictl(["rmp", "-f", id]);
    if (status !== 0) say(`pod ${id} is not removed: ${stderr.trim()}`);
  }
  const rest = hasPods ? await quiet("pods", "-q") : "";
  if (rest !== "")
    throw new Error(`pods are left, and with them ${short(base)}; the next npm start tries again. The end of the log:\n${logEnd()}`);
  await stopDaemon();
  spawnSync(crid, ["logger", "--stop", "--state", state]);
  execFileSync("bash", [join(repo, "hack/registry"), "stop", registryFolder]);
  for (const leftover of restoreMachine(before, marks)) say(`removed what crid had left: ${leftover}`);
  for (const dir of marks.dirs) rmSync(dir, { recursive: true, force: true });
}

/** Field 22 of /proc/PID/stat; undefined when there is no such process. */
function processStart(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[19];
  } catch {
    return undefined;
  }
}

/** A start that was killed, or that failed to clean up, has left things. @throws when it is still running */
async function removeLeftovers(): Promise<void> {
  if (!existsSync(noteFile)) return rmSync(base, { recursive: true, force: true });
  const { pid, started, before } = JSON.parse(readFileSync(noteFile, "utf8")) as Note;
  if (processStart(pid) === started) throw new Error(`another npm start (pid ${pid}) serves from ${short(base)}; end that one first`);
  say("removing what an earlier npm start has left ...");
  try {
    await removeAll(before);
  } finally {
    cleaning = false;
  }
}

let before: MachineBefore | undefined;
try {
  await removeLeftovers();
  before = lookAtMachine();
  mkdirSync(base);
  write("start.json", { pid: process.pid, started: processStart(process.pid) ?? "", before } satisfies Note);
  const registry = execFileSync("bash", [join(repo, "hack/registry"), "start", registryFolder], { encoding: "utf8" }).trim();
  const files = writeFiles(registry);
  const daemon = await serve();
  await demonstrate(files);
  say(`\ncrid serves on ${short(socket)}; its log is ${short(logFile)}. Try, in another terminal:`);
  say(`\n  ${short(join(tools, "bin/crictl"))} --config ${short(join(base, "crictl.yaml"))} ps -a\n`);
  say("Ctrl-C ends it and removes everything.");
  // The child keeps this process alive.
  await new Promise<void>((resolve) => {
    abort.signal.addEventListener("abort", () => resolve());
    daemon.once("exit", () => resolve());
    if (abort.signal.aborted || daemon.exitCode !== null) resolve();
  });
  if (!abort.signal.aborted) throw new Error(`crid has ended; the end of its log:\n${logEnd()}`);
} catch (error) {
  if (!abort.signal.aborted) {
    say(`\nnpm start failed: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
} finally {
  if (before !== undefined) {
    say("\nremoving the pods, their network and the daemon ...");
    try {
      await removeAll(before);
      say("done: nothing is left");
    } catch (error) {
      say(error instanceof Error ? error.message : String(error));
      process.exitCode = 1;
    }
  }
}
