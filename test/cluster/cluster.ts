import { randomBytes } from "node:crypto";
import { cpSync, existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { docsCommands } from "../../hack/docs-block.ts";
import { conflist, initConfiguration, joinConfiguration, type KubeletOptions, podNetwork, shipped } from "./kubeadm.ts";
import { Kubectl } from "./kubectl.ts";
import { kube, Machine } from "./machine.ts";
import { ClusterNode } from "./node.ts";
import { type RuntimeName, runtimeFiles, socketOf } from "./runtimes.ts";
import { must, until } from "./shell.ts";
import { takeDown, writeState } from "./state.ts";

const diskBytes = 16 * 2 ** 30;

export interface ClusterOptions extends KubeletOptions {
  runtime: RuntimeName;
  nodes: number;
  /** Gets a line for each step, with what it took. */
  say: (line: string) => void;
}

/** A cluster of one or two nodes on one machine, made by kubeadm, on the runtime under test. */
export class Cluster {
  readonly runtime: RuntimeName;
  readonly directory: string;
  readonly machine: Machine;
  readonly nodes: readonly ClusterNode[];
  readonly socket: string;
  readonly kubectl: Kubectl;
  /** Seconds that the steps of bringing it up took. */
  readonly timings: Record<string, number> = {};
  readonly #options: ClusterOptions;

  private constructor(options: ClusterOptions, directory: string, machine: Machine) {
    const { runtime } = options;
    this.#options = options;
    this.runtime = runtime;
    this.directory = directory;
    this.machine = machine;
    const cgroup = `/crid-cluster-${randomBytes(3).toString("hex")}`;
    this.socket = socketOf(runtime);
    this.nodes = Array.from(
      { length: options.nodes },
      (_, index) => new ClusterNode({ name: `node${index + 1}`, machine, number: index + 1, cgroup, diskBytes }),
    );
    writeState(directory, { pid: machine.pid, cgroup, disks: this.nodes.map((node) => node.image) });
    this.kubectl = new Kubectl({ kubeconfig: join(directory, "admin.conf"), network: machine.pid });
  }

  /** Boots the nodes with their runtime; no Kubernetes yet. */
  static async boot(options: ClusterOptions): Promise<Cluster> {
    const directory = mkdtempSync(join(tmpdir(), "crid-cluster-"));
    const machine = await Machine.start(directory);
    const cluster = new Cluster(options, directory, machine);
    try {
      await cluster.#time("machine", () => machine.startServices());
      const { files, release } = runtimeFiles(options.runtime, machine);
      await cluster.#time("nodes", () =>
        Promise.all(
          cluster.nodes.map(async (node) => {
            await node.install(files, release);
            await node.boot();
            await cluster.runtimeReady(node);
          }),
        ),
      );
      return cluster;
    } catch (error) {
      await cluster.down();
      throw error;
    }
  }

  get control(): ClusterNode {
    return this.node(0);
  }

  /** The last node: the one for tests that harm a node. */
  get worker(): ClusterNode {
    return this.node(this.nodes.length - 1);
  }

  node(index: number): ClusterNode {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`the cluster has no node ${index + 1}`);
    return node;
  }

  /** Waits until the runtime of a node answers. */
  async runtimeReady(node: ClusterNode): Promise<void> {
    await until(
      `${this.runtime} on ${node.name}`,
      40_000,
      async () => ((await node.try(["crictl", "version"])).status === 0 ? true : undefined),
      () => node.log(this.runtime),
    );
  }

  /** kubeadm init, join, and the pod network, until all nodes are Ready and kube-system runs. */
  async up(): Promise<void> {
    const { control, socket } = this;
    const base = this.runtime === "crid" ? await control.run(["cat", shipped.init]) : "";
    await control.write(shipped.init, initConfiguration(control, socket, base, this.#options));
    await this.#time("kubeadm init", () => this.#kubeadm(control, docsCommands("install.md", "init")));
    writeFileSync(this.kubectl.kubeconfig, await control.run(["cat", "/etc/kubernetes/admin.conf"]), { mode: 0o600 });
    await this.network(control);
    await this.#time("kube-system on node1", () => this.systemReady());
    for (const node of this.nodes.slice(1)) {
      await this.#time(`kubeadm join ${node.name}`, () => this.join(node, this.runtime));
      await this.network(node);
    }
    await this.#time("all nodes Ready", () => this.ready());
  }

  /** Makes a node, on which that runtime answers, part of the cluster. */
  async join(node: ClusterNode, runtime: RuntimeName): Promise<void> {
    const base = runtime === "crid" ? await node.run(["cat", shipped.join]) : "";
    const command = await this.control.run(["kubeadm", "token", "create", "--print-join-command"]);
    const [, caHash = ""] = /(sha256:[0-9a-f]{64})/.exec(command) ?? [];
    await node.write(shipped.join, joinConfiguration(node, socketOf(runtime), base, this.control, caHash));
    await this.#kubeadm(node, docsCommands("install.md", "join"));
  }

  /** Installs metrics-server from upstream's manifests: the kubelets' certificates are self-signed here. */
  async metricsServer(): Promise<void> {
    const folder = join(this.directory, "metrics-server");
    await must(["cp", "-r", join(kube, "manifests/metrics-server"), folder]);
    const patch = [
      { op: "add", path: "/spec/template/spec/containers/0/args/-", value: "--kubelet-insecure-tls" },
      { op: "replace", path: "/spec/template/spec/containers/0/image", value: "registry.k8s.io/metrics-server/metrics-server:v0.8.0" },
      { op: "replace", path: "/spec/template/spec/containers/0/readinessProbe/initialDelaySeconds", value: 2 },
    ];
    const kustomization = {
      apiVersion: "kustomize.config.k8s.io/v1beta1",
      kind: "Kustomization",
      resources: ["metrics-server"],
      patches: [{ target: { kind: "Deployment" }, patch: JSON.stringify(patch) }],
    };
    writeFileSync(join(this.directory, "kustomization.yaml"), JSON.stringify(kustomization));
    await this.kubectl.run(["apply", "-k", this.directory]);
  }

  /** Waits until all nodes are Ready and kube-system is, too. */
  async ready(timeoutMs = 120_000): Promise<void> {
    await until(
      "all nodes to be Ready",
      timeoutMs,
      async () => {
        const { items } = await this.kubectl.list("nodes");
        const ready = items.filter((item) => item.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True"));
        return ready.length === this.nodes.length ? true : undefined;
      },
      () => this.kubectl.run(["get", "nodes", "-o", "wide"]),
    );
    await this.systemReady(timeoutMs);
  }

  async systemReady(timeoutMs = 120_000): Promise<void> {
    await until(
      "the pods of kube-system",
      timeoutMs,
      async () => {
        const all = (await this.kubectl.list("pods", "-n", "kube-system")).items;
        // Pods that were evicted, or ended with their node, stay as records of that.
        const items = all.filter(({ status }) => status?.phase !== "Failed" && status?.phase !== "Succeeded");
        const ready = items.filter((item) => item.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True"));
        // etcd, three of the control plane, kube-proxy, two of CoreDNS
        return items.length >= 7 && ready.length === items.length ? true : undefined;
      },
      async () =>
        `\n${await this.kubectl.run(["get", "pods", "-n", "kube-system", "-o", "wide"])}\n${await this.control.log(this.runtime, 15)}`,
    );
  }

  /** Reboots a node: its namespaces end, /run is empty, the disk stays; the pod network comes back as a boot script would make it. */
  async reboot(node: ClusterNode): Promise<void> {
    await node.powerOff();
    await node.boot();
    await this.#routes(node);
    await this.runtimeReady(node);
  }

  /** Ends everything and removes every trace. Answers what could not be removed. */
  down(): Promise<string[]> {
    return takeDown(this.directory);
  }

  /** Keeps the logs of the nodes' services beyond the cluster. Answers where. */
  async saveLogs(): Promise<string> {
    const to = mkdtempSync(join(tmpdir(), "crid-cluster-logs-"));
    for (const node of this.nodes)
      for (const service of [this.runtime, "kubelet"]) await node.save(`/var/log/${service}.log`, join(to, `${node.name}-${service}.log`));
    const failures = join(this.directory, "failures.log");
    if (existsSync(failures)) cpSync(failures, join(to, "failures.log"));
    return to;
  }

  /** Leaves everything running when this process ends. */
  async keep(): Promise<void> {
    for (const node of this.nodes) node.release();
    await this.machine.keep();
  }

  async #kubeadm(node: ClusterNode, command: string): Promise<void> {
    const { status, stdout, stderr } = await node.try(["bash", "--norc", "-ec", command], { timeoutMs: 300_000 });
    writeFileSync(join(this.directory, `kubeadm-${node.name}.log`), stdout + stderr);
    if (status === 0) return;
    const tail = (stdout + stderr).split("\n").slice(-40).join("\n");
    throw new Error(
      `${command} on ${node.name}: status ${status}\n${tail}\n--- ${this.runtime}:\n${await node.log(this.runtime, 30)}\n--- kubelet:\n${await node.log("kubelet", 30)}`,
    );
  }

  /** What a network plugin's daemon does on a node: the conflist with the node's own range, routes to the other ranges, masquerading. */
  async network(node: ClusterNode): Promise<void> {
    const cidr = await until(`the pod range of ${node.name}`, 60_000, () => this.podCidr(node));
    await node.write("/etc/cni/net.d/10-podnet.conflist", conflist(cidr));
    for (const each of this.nodes) await this.#routes(each);
  }

  /** The range that the control plane gave to a node. */
  async podCidr(node: ClusterNode): Promise<string | undefined> {
    const { stdout } = await this.kubectl.try(["get", "node", node.name, "-o", "jsonpath={.spec.podCIDR}"]);
    return stdout.trim() === "" ? undefined : stdout.trim();
  }

  async #routes(node: ClusterNode): Promise<void> {
    for (const other of this.nodes) {
      const cidr = other === node ? undefined : await this.podCidr(other);
      if (cidr !== undefined) await node.run(["ip", "route", "replace", cidr, "via", other.address]);
    }
    const rules = `table ip podnet
delete table ip podnet
table ip podnet {
  chain postrouting {
    type nat hook postrouting priority srcnat + 10;
    ip saddr ${podNetwork} ip daddr != ${podNetwork} oifname "eth0" masquerade
  }
}
`;
    await node.run(["nft", "-f", "-"], { input: rules });
  }

  async #time<T>(step: string, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    const result = await work();
    const seconds = (performance.now() - start) / 1000;
    this.timings[step] = Math.round(seconds * 10) / 10;
    this.#options.say(`  ${step}: ${seconds.toFixed(1)} s`);
    return result;
  }
}
