import { type ChildProcess, spawn } from "node:child_process";
import { appendFileSync, closeSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { makeCgroup, moveToCgroup } from "./cgroups.ts";
import { firstLine, initOf, kube, type Machine, tools } from "./machine.ts";
import { type CommandOptions, type CommandResult, must, run, until } from "./shell.ts";

/** What a node sees of this machine, read-only: source and place. */
const shown: readonly (readonly [string, string])[] = [
  ...["kubelet", "kubeadm", "kubectl", "logind"].map((name) => [join(kube, "bin", name), `/usr/local/bin/${name}`] as const),
  ...["containerd", "ctr", "crictl"].map((name) => [join(tools, "bin", name), `/usr/local/bin/${name}`] as const),
];
/** Copied, since runc looks at the folder of its own binary, where a file that is only shown is another. */
const copied = ["containerd-shim-runc-v2", "runc"];
const plugins = ["bridge", "host-local", "portmap", "loopback", "firewall", "tuning"];

/**
 * A node of the cluster: namespaces of its own (mount, net, uts, ipc, pid), a disk of its own (an ext4 image, on which also the changes to
 * the machine's files lie), a private /run, and cgroups below one of its own.
 */
export class ClusterNode {
  readonly name: string;
  readonly address: string;
  readonly machine: Machine;
  /** The cgroup that is the kubelet's root; exists in every hierarchy. */
  readonly cgroup: string;
  readonly diskBytes: number;
  readonly #directory: string;
  #init: ChildProcess | undefined;
  #pid = 0;
  #starts = 0;

  constructor(options: { name: string; machine: Machine; number: number; cgroup: string; diskBytes: number }) {
    this.name = options.name;
    this.machine = options.machine;
    this.address = `${options.machine.lan}.${10 + options.number}`;
    this.cgroup = `${options.cgroup}/${options.name}`;
    this.#directory = join(options.machine.directory, options.name);
    mkdirSync(join(this.#directory, "disk"), { recursive: true });
    this.diskBytes = options.diskBytes;
  }

  get image(): string {
    return join(this.#directory, "disk.img");
  }

  /** Makes the disk, with the files that `files` names on it, and, where a release is given, its tarball unpacked over /. */
  async install(files: Record<string, string>, release: string | undefined): Promise<void> {
    await must(["truncate", "-s", String(this.diskBytes), this.image]);
    await must(["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", this.image]);
    const stage = join(this.#directory, "disk");
    const script = [
      "set -e",
      `mount -o loop ${this.image} ${stage}`,
      `mkdir -p ${stage}/upper/opt/cni/bin`,
      `cp ${plugins.map((name) => join(tools, "cni/bin", name)).join(" ")} ${stage}/upper/opt/cni/bin/`,
    ];
    script.push(
      `mkdir -p ${stage}/upper/usr/local/bin`,
      `cp ${copied.map((name) => join(tools, "bin", name)).join(" ")} ${stage}/upper/usr/local/bin/`,
    );
    if (release !== undefined) script.push(`tar -C ${stage}/upper -xzf ${release}`);
    script.push(`cp -r ${this.#directory}/files/. ${stage}/upper/`, `umount ${stage}`);
    for (const [path, content] of Object.entries({ ...this.#basics(), ...files })) this.#stage(path, content);
    await must(["unshare", "--mount", "--propagation", "private", "bash", "-c", script.join("\n")]);
  }

  #stage(path: string, content: string): void {
    const file = join(this.#directory, "files", path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content, { mode: content.startsWith("#!") ? 0o755 : 0o644 });
  }

  #basics(): Record<string, string> {
    const { lan } = this.machine;
    const nodes = [1, 2].map((number) => `${lan}.${10 + number} node${number}`).join("\n");
    return {
      "/etc/hostname": `${this.name}\n`,
      "/etc/hosts": `127.0.0.1 localhost\n::1 localhost ip6-localhost\n${nodes}\n`,
      "/etc/resolv.conf": `nameserver ${lan}.1\n`,
      "/etc/machine-id": `${Buffer.from(this.name.padEnd(16, "-")).toString("hex")}\n`,
    };
  }

  /** Boots the node: fresh namespaces, an empty /run, the disk as it was. */
  async boot(): Promise<void> {
    const list = join(this.#directory, "shown");
    writeFileSync(list, shown.map((pair) => `${pair.join(" ")}\n`).join(""));
    makeCgroup(`${this.cgroup}/system`);
    const log = openSync(join(this.#directory, "init.log"), "a");
    const [file = "", ...args] = this.machine.inside([
      ...["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"],
      ...[join(import.meta.dirname, "node-init.sh"), this.name, this.image, join(this.#directory, "disk"), list],
    ]);
    const init = spawn(file, args, {
      stdio: ["pipe", "pipe", log],
      detached: true,
      env: { ...process.env, PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/root" },
    });
    closeSync(log);
    this.#init = init;
    const up = firstLine(init, `${this.name}'s pid 1 (see ${this.#directory}/init.log)`);
    this.#pid = await until(`${this.name}'s pid 1`, 10_000, () => Promise.resolve(initOf(init)));
    moveToCgroup(`${this.cgroup}/system`, this.#pid);
    await this.machine.connect(`${this.name}-${++this.#starts}`, this.#pid, this.address);
    init.stdin?.end("go\n");
    await up;
  }

  /** Ends the node as a power failure does, but for what the page cache holds. */
  async powerOff(): Promise<void> {
    const init = this.#init;
    if (init === undefined) return;
    const gone = new Promise((resolve) => init.once("close", resolve));
    process.kill(this.#pid, "SIGKILL");
    await gone;
    this.#init = undefined;
    // The kernel unmounts the disk when the last process of the namespaces is gone; it must not be mounted twice.
    await until(`${this.name}'s disk to be unmounted`, 30_000, () => this.diskFree());
  }

  async diskFree(): Promise<true | undefined> {
    return (await must(["losetup", "-j", this.image])).trim() === "" ? true : undefined;
  }

  /** Lets this process end while the node runs on. */
  release(): void {
    this.#init?.unref();
  }

  get pid(): number {
    return this.#pid;
  }

  inside(argv: readonly string[]): string[] {
    return [
      "nsenter",
      "-t",
      String(this.#pid),
      "-m",
      "-n",
      "-p",
      "-i",
      "-u",
      "--",
      "/usr/bin/env",
      "-i",
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "HOME=/root",
      ...argv,
    ];
  }

  try(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return run(this.inside(argv), options);
  }

  /** Runs a command on the node. @throws with its output when it fails */
  run(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
    return must(this.inside(argv), options);
  }

  /** --norc: a bash whose input is a socket, as Node's pipes are, takes itself for one of rshd's and reads root's .bashrc. */
  shell(script: string, options: CommandOptions = {}): Promise<string> {
    return this.run(["bash", "--norc", "-c", `set -euo pipefail\n${script}`], options);
  }

  async write(path: string, content: string): Promise<void> {
    await this.shell(`mkdir -p "$(dirname '${path}')" && cat >'${path}'`, { input: content });
  }

  /** The pid of a service in the node's pid namespace; undefined when it does not run. */
  async servicePid(service: string): Promise<number | undefined> {
    const { stdout } = await this.try(["cat", `/run/init/${service}.pid`]);
    return stdout.trim() === "" ? undefined : Number(stdout);
  }

  /** Ends a service, which init starts again unless it is kept down. */
  async signalService(service: string, signal: NodeJS.Signals): Promise<void> {
    const pid = await this.servicePid(service);
    if (pid !== undefined) await this.try(["kill", `-${signal.slice(3)}`, String(pid)]);
  }

  async stopService(service: string): Promise<void> {
    await this.run(["touch", `/run/init/${service}.down`]);
    await this.signalService(service, "SIGTERM");
    await until(`${service} to end`, 30_000, async () => ((await this.servicePid(service)) === undefined ? true : undefined));
  }

  async startService(service: string): Promise<void> {
    await this.run(["rm", "-f", `/run/init/${service}.down`]);
    await until(`${service} to start`, 30_000, async () => await this.servicePid(service));
  }

  async restartService(service: string): Promise<void> {
    await this.stopService(service);
    await this.startService(service);
  }

  /** The end of a service's log, for messages. */
  async log(service: string, lines = 40): Promise<string> {
    return (await this.try(["tail", "-n", String(lines), `/var/log/${service}.log`])).stdout;
  }

  /** Copies a file of the node out, for the report of a failure. */
  async save(path: string, to: string): Promise<void> {
    const { status, stdout } = await this.try(["cat", path]);
    if (status === 0) writeFileSync(to, stdout);
    else appendFileSync(to, `no ${path}\n`);
  }
}
