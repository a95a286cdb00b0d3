import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { CriClient } from "./cri.ts";
import type { TestNode } from "./node.ts";
import { busybox } from "./pods.ts";

type ContainerMessage = runtime.v1.ContainerConfig.$Properties;
type SecurityMessage = runtime.v1.LinuxContainerSecurityContext.$Properties;
type PodMessage = runtime.v1.PodSandboxConfig.$Properties;

const { NamespaceMode } = runtime.v1;

/** What a test asks of one container; the rest is as usual. */
export interface Asked {
  /** For `sh -c`; `container.command` takes its place. */
  script?: string;
  image?: string;
  container?: ContainerMessage;
  security?: SecurityMessage;
  resources?: runtime.v1.LinuxContainerResources.$Properties;
}

/** A pod and what its containers are asked with. */
export interface FeaturePod {
  id: string;
  config: PodMessage;
  logDirectory: string;
}

/** Runs single containers with single features, over the CRI itself. */
export class FeatureBed implements Disposable {
  readonly cri: CriClient;
  readonly #node: TestNode;
  #serial = 0;

  constructor(node: TestNode) {
    this.#node = node;
    this.cri = new CriClient(node.socket);
  }

  [Symbol.dispose](): void {
    this.cri[Symbol.dispose]();
  }

  async pod(linux: runtime.v1.LinuxPodSandboxConfig.$Properties = {}, more: PodMessage = {}): Promise<FeaturePod> {
    const name = `features-${++this.#serial}`;
    const logDirectory = join(this.#node.directory, "logs", name);
    const config: PodMessage = {
      metadata: { name, namespace: "e2e", uid: `uid-${name}`, attempt: 0 },
      hostname: name,
      logDirectory,
      ...more,
      linux: { cgroupParent: this.#node.cgroup, ...linux },
    };
    const { podSandboxId } = await this.cri.runPodSandbox({ config });
    return { id: podSandboxId, config, logDirectory };
  }

  async create(pod: FeaturePod, asked: Asked): Promise<string> {
    const name = `c${++this.#serial}`;
    const namespaces = { pid: NamespaceMode.CONTAINER, ...pod.config.linux?.securityContext?.namespaceOptions };
    const { containerId } = await this.cri.createContainer({
      podSandboxId: pod.id,
      sandboxConfig: pod.config,
      config: {
        metadata: { name, attempt: 0 },
        image: { image: asked.image ?? busybox },
        command: ["sh", "-c", asked.script ?? "exec sleep 3600"],
        logPath: `${name}.log`,
        ...asked.container,
        linux: { securityContext: { namespaceOptions: namespaces, ...asked.security }, resources: asked.resources ?? {} },
      },
    });
    return containerId;
  }

  /** Creates and starts one. */
  async start(pod: FeaturePod, asked: Asked): Promise<string> {
    const containerId = await this.create(pod, asked);
    await this.cri.startContainer({ containerId });
    return containerId;
  }

  /** Runs one to its end, and removes it. */
  async run(pod: FeaturePod, asked: Asked): Promise<{ output: string; log: string; status: runtime.v1.ContainerStatus.$Properties }> {
    const containerId = await this.start(pod, asked);
    const status = await this.exited(containerId);
    const log = existsSync(status.logPath ?? "") ? readFileSync(status.logPath ?? "", "utf8") : "";
    await this.cri.removeContainer({ containerId });
    return { status, log, output: outputOf(log) };
  }

  async exited(containerId: string): Promise<runtime.v1.ContainerStatus.$Properties> {
    for (let attempt = 0; attempt < 400; attempt++) {
      const { status } = await this.cri.containerStatus({ containerId });
      if (status?.state === runtime.v1.ContainerState.CONTAINER_EXITED) return status;
      await sleep(25);
    }
    throw new Error(`container ${containerId} does not exit`);
  }

  /** The output of a command in a container that runs. @throws when it fails */
  async exec(containerId: string, ...cmd: string[]): Promise<string> {
    const { stdout, stderr, exitCode } = await this.cri.execSync({ containerId, cmd, timeout: 20n });
    if (exitCode !== 0) throw new Error(`${cmd.join(" ")}: exit code ${exitCode}: ${Buffer.from(stderr).toString()}`);
    return Buffer.from(stdout).toString().trimEnd();
  }

  /** Its process on the host, and its spec. */
  async inspect(
    containerId: string,
  ): Promise<{ pid: number; runtimeSpec: { annotations: Record<string, string>; linux: { resources: unknown } } }> {
    const { info } = await this.cri.containerStatus({ containerId, verbose: true });
    return JSON.parse(info?.info ?? "{}");
  }

  /** A file of the container's cgroup (v1: of that controller; v2: of the only hierarchy). */
  async cgroupFile(containerId: string, controller: string, v1: string, v2 = v1): Promise<string> {
    const { pid } = await this.inspect(containerId);
    const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").split("\n");
    const unified = existsSync("/sys/fs/cgroup/cgroup.controllers");
    const line = lines.find((one) => (unified ? one.startsWith("0::") : one.split(":")[1]?.split(",").includes(controller)));
    const path = line?.split(":")[2] ?? "";
    return readFileSync(join("/sys/fs/cgroup", unified ? "" : controller, path, unified ? v2 : v1), "utf8").trim();
  }
}

/** What a container has written to stdout, without the times and tags of its log. */
export function outputOf(log: string): string {
  let text = "";
  for (const line of log.split("\n").filter((line) => line !== "")) {
    const [, stream, tag, ...rest] = line.split(" ");
    if (stream !== "stdout") continue;
    text += rest.join(" ") + (tag === "F" ? "\n" : "");
  }
  return text.trimEnd();
}
