import { join } from "node:path";
import { kube } from "./machine.ts";
import { type CommandOptions, type CommandResult, must, run, until } from "./shell.ts";

interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
}

interface ContainerState {
  running?: { startedAt: string };
  waiting?: { reason?: string; message?: string };
  terminated?: { exitCode: number; reason?: string; message?: string; signal?: number; startedAt?: string; finishedAt?: string };
}

export interface ContainerStatus {
  name: string;
  ready: boolean;
  restartCount: number;
  containerID?: string;
  image: string;
  imageID: string;
  started?: boolean;
  stopSignal?: string;
  state: ContainerState;
  lastState: ContainerState;
  user?: { linux?: { uid: number; gid: number; supplementalGroups?: number[] } };
  resources?: { limits?: Record<string, string>; requests?: Record<string, string> };
}

/** What the tests read of an object. */
export interface KubeObject {
  kind: string;
  metadata: { name: string; namespace?: string; uid: string; labels?: Record<string, string>; creationTimestamp: string };
  spec?: { nodeName?: string; podCIDR?: string; clusterIP?: string; ports?: { nodePort?: number; port: number }[] };
  status?: {
    phase?: string;
    reason?: string;
    message?: string;
    podIP?: string;
    hostIP?: string;
    readyReplicas?: number;
    succeeded?: number;
    numberReady?: number;
    conditions?: Condition[];
    containerStatuses?: ContainerStatus[];
    initContainerStatuses?: ContainerStatus[];
    ephemeralContainerStatuses?: ContainerStatus[];
    runtimeHandlers?: { name: string; features?: Record<string, boolean> }[];
    features?: Record<string, boolean>;
    nodeInfo?: Record<string, string>;
  };
}

export interface KubeEvent {
  type: string;
  reason: string;
  message: string;
  involvedObject: { name: string };
}

/** The unmodified kubectl with the cluster's admin configuration, in the network of the nodes. */
export class Kubectl {
  readonly kubeconfig: string;
  readonly #network: number;

  constructor(options: { kubeconfig: string; network: number }) {
    this.kubeconfig = options.kubeconfig;
    this.#network = options.network;
  }

  argv(args: readonly string[]): string[] {
    return ["nsenter", "-t", String(this.#network), "-n", "--", join(kube, "bin/kubectl"), "--kubeconfig", this.kubeconfig, ...args];
  }

  try(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return run(this.argv(args), options);
  }

  /** @throws with kubectl's message when it fails */
  run(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    return must(this.argv(args), options);
  }

  async json<T>(args: readonly string[]): Promise<T> {
    return JSON.parse(await this.run([...args, "-o", "json"])) as T;
  }

  list(...args: string[]): Promise<{ items: KubeObject[] }> {
    return this.json(["get", ...args]);
  }

  get(kind: string, name: string, namespace: string): Promise<KubeObject> {
    return this.json(["get", kind, name, "-n", namespace]);
  }

  async apply(...objects: object[]): Promise<void> {
    const input = JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
    await this.run(["apply", "-f", "-"], { input });
  }

  /** The events of an object, oldest first. */
  async events(name: string, namespace: string): Promise<KubeEvent[]> {
    const { items } = await this.json<{ items: KubeEvent[] }>([
      "get",
      "events",
      "-n",
      namespace,
      "--field-selector",
      `involvedObject.name=${name}`,
    ]);
    return items;
  }

  /** Waits until a pod satisfies `good`. @throws with its description otherwise */
  pod(name: string, namespace: string, what: string, good: (pod: KubeObject) => boolean, timeoutMs = 60_000): Promise<KubeObject> {
    return until(
      `pod ${name} to be ${what}`,
      timeoutMs,
      async () => {
        const pod = await this.get("pod", name, namespace);
        return good(pod) ? pod : undefined;
      },
      async () => (await this.try(["describe", "pod", name, "-n", namespace])).stdout.split("\n").slice(-60).join("\n"),
    );
  }

  ready(name: string, namespace: string, timeoutMs?: number): Promise<KubeObject> {
    return this.pod(name, namespace, "Ready", isReady, timeoutMs);
  }

  exec(
    name: string,
    namespace: string,
    command: readonly string[],
    options: CommandOptions & { container?: string } = {},
  ): Promise<string> {
    const { container, input, ...rest } = options;
    const flags = [...(container === undefined ? [] : ["-c", container]), ...(input === undefined ? [] : ["-i"])];
    return this.run(["exec", name, "-n", namespace, ...flags, "--", ...command], input === undefined ? rest : { ...rest, input });
  }

  logs(name: string, namespace: string, ...flags: string[]): Promise<string> {
    return this.run(["logs", name, "-n", namespace, ...flags]);
  }
}

export function isReady(object: KubeObject): boolean {
  return object.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;
}

/** The status of a container. @throws when the pod has none of that name yet */
export function statusOf(pod: KubeObject, name = "main"): ContainerStatus {
  const { containerStatuses = [], initContainerStatuses = [], ephemeralContainerStatuses = [] } = pod.status ?? {};
  const found = [...containerStatuses, ...initContainerStatuses, ...ephemeralContainerStatuses].find((status) => status.name === name);
  if (found === undefined) throw new Error(`pod ${pod.metadata.name} has no status of container ${name}`);
  return found;
}
