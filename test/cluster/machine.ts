import { type ChildProcess, spawn } from "node:child_process";
import { openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { must, run, until } from "./shell.ts";

export const repo = join(import.meta.dirname, "../..");
export const tools = join(repo, ".tools");
/** kubelet, kubeadm, kubectl and images of hack/build-kube. */
export const kube = join(tools, "kube");

/** Registries whose images are here; every node has a mirror for each. */
export const mirrored = ["registry.k8s.io", "docker.io", "gcr.io", "k8s.gcr.io", "public.ecr.aws", "ghcr.io"];

/**
 * Network, mount, pid, ipc and uts namespaces that hold the nodes, a bridge between them, two registries and a name server.
 * Its end, which is also that of this process, ends everything in it.
 */
export class Machine {
  readonly directory: string;
  /** The nodes' network, as `10.X.Y`. */
  readonly lan: string;
  readonly #init: ChildProcess;
  readonly #log: number;
  /** Pid 1 of the namespaces, as seen from here. */
  readonly pid: number;

  private constructor(options: { directory: string; lan: string; init: ChildProcess; pid: number }) {
    this.directory = options.directory;
    this.lan = options.lan;
    this.#init = options.init;
    this.pid = options.pid;
    this.#log = openSync(join(this.directory, "machine.log"), "a");
  }

  static async start(directory: string): Promise<Machine> {
    const lan = await freeNetwork();
    const log = openSync(join(directory, "machine.log"), "a");
    // A session of its own: a Ctrl-C in the terminal is for the test, which then takes everything down in order.
    const init = spawn(
      "unshare",
      [
        "--mount",
        "--net",
        "--pid",
        "--ipc",
        "--uts",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation",
        "private",
        join(import.meta.dirname, "machine-init.sh"),
        lan,
      ],
      { stdio: ["pipe", "pipe", log], detached: true },
    );
    await firstLine(init, "the machine's namespaces");
    return new Machine({ directory, lan, init, pid: initOf(init) });
  }

  /** The argv that runs a command in the machine's namespaces. */
  inside(argv: readonly string[]): string[] {
    return ["nsenter", "-t", String(this.pid), "-m", "-n", "-p", "-i", "-u", "--", ...argv];
  }

  /** Starts the registries with the cluster's and the test images, and a name server that knows `registry.test`. */
  async startServices(): Promise<void> {
    this.#registry("kube", join(kube, "registry"), 5000);
    this.#registry("test", join(tools, "registry"), 5001);
    const corefile = join(this.directory, "Corefile");
    writeFileSync(corefile, `. {\n  bind ${this.lan}.1\n  hosts {\n    ${this.lan}.1 registry.test\n    192.0.2.7 outside.test\n  }\n}\n`);
    this.#daemon([join(kube, "parts/coredns/coredns"), "-conf", corefile, "-quiet"]);
    for (const port of [5000, 5001]) {
      const probe = this.inside(["curl", "-sf", "-o", "/dev/null", `http://${this.lan}.1:${port}/v2/`]);
      await until(`the registry on port ${port}`, 20_000, async () => ((await run(probe)).status === 0 ? true : undefined));
    }
  }

  /** Endpoints of the mirrors, in the order in which they are asked. */
  get endpoints(): string[] {
    return [`http://${this.lan}.1:5000`, `http://${this.lan}.1:5001`];
  }

  /** Connects a node's new network namespace to the bridge. */
  async connect(name: string, pid: number, address: string): Promise<void> {
    const ip = (...args: string[]): Promise<string> => must(["nsenter", "-t", String(this.pid), "-n", "ip", ...args]);
    await ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", String(pid));
    await ip("link", "set", name, "master", "lan0", "up");
    const inNode = (...args: string[]): Promise<string> => must(["nsenter", "-t", String(pid), "-n", "ip", ...args]);
    await inNode("addr", "add", `${address}/24`, "dev", "eth0");
    await inNode("link", "set", "eth0", "up");
    await inNode("route", "add", "default", "via", `${this.lan}.1`);
  }

  /** Lets the machine live on after this process, and makes its network reachable from the outside. */
  async keep(): Promise<void> {
    const device = `crid${this.pid}`;
    await must(["ip", "link", "add", device, "type", "veth", "peer", "name", "outside", "netns", String(this.pid)]);
    const outside = `${this.lan}.254`;
    await must(["nsenter", "-t", String(this.pid), "-n", "ip", "link", "set", "outside", "master", "lan0", "up"]);
    await must(["ip", "addr", "add", `${outside}/24`, "dev", device]);
    await must(["ip", "link", "set", device, "up"]);
    this.#init.stdin?.end("keep\n");
    this.#init.unref();
  }

  #registry(name: string, storage: string, port: number): void {
    const config = join(this.directory, `registry-${name}.yaml`);
    writeFileSync(
      config,
      JSON.stringify({
        version: "0.1",
        log: { level: "warn", accesslog: { disabled: true } },
        storage: { filesystem: { rootdirectory: storage }, maintenance: { readonly: { enabled: true } } },
        http: { addr: `${this.lan}.1:${port}`, secret: "cluster" },
      }),
    );
    this.#daemon([join(tools, "bin/registry"), "serve", config]);
  }

  #daemon(argv: readonly string[]): void {
    const [file = "", ...args] = this.inside(argv);
    // biome-ignore format: one line
    const child = spawn(file, args, { stdio: ["ignore", this.#log, this.#log], detached: true, env: { ...process.env, OTEL_TRACES_EXPORTER: "none" } });
    child.unref();
  }
}

/** A `10.X.Y` that no route of this machine has. */
async function freeNetwork(): Promise<string> {
  const routes = await must(["ip", "-4", "route", "show", "table", "all"]);
  for (;;) {
    const lan = `10.${100 + Math.floor(Math.random() * 100)}.${Math.floor(Math.random() * 256)}`;
    if (!routes.includes(`${lan.split(".").slice(0, 2).join(".")}.`)) return lan;
  }
}

/** Waits until a pid 1 says that it is up. */
export async function firstLine(child: ChildProcess, what: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  child.stdout?.once("data", () => resolve());
  child.once("error", reject);
  child.once("close", (code) => reject(new Error(`${what} ended with ${code ?? "a signal"} while starting`)));
  await promise;
}

/** The descendant of an `unshare` (below an nsenter, perhaps) that is pid 1 of the innermost namespace. */
export function initOf(child: ChildProcess): number {
  let pid = child.pid ?? 0;
  for (let depth = 0; depth < 5; depth++) {
    const own = /^NSpid:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]?.split(/\s+/) ?? [];
    if (depth > 0 && own.at(-1) === "1") return pid;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean);
    if (children[0] === undefined) break;
    pid = Number(children[0]);
  }
  throw new Error(`process ${child.pid} started no pid 1`);
}
