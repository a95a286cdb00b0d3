import type { TestNode } from "./node.ts";

export const busybox = "registry.k8s.io/e2e-test-images/busybox:1.29-2";

let serial = 0;

/** A pod's configuration in crictl's form, with a name of its own; `more` is merged over it. */
export function podConfig(node: TestNode, more: Record<string, unknown> = {}): Record<string, unknown> {
  const name = `pod-${++serial}`;
  return {
    metadata: { name, namespace: "e2e", uid: `uid-${name}`, attempt: 1 },
    log_directory: `${node.directory}/logs/${name}`,
    linux: { cgroup_parent: node.cgroup, security_context: { namespace_options: { network: 0, pid: 1 } } },
    ...more,
  };
}

/** Pid 1 of its own pid namespace, as the kubelet asks for it. */
const ownPid = { namespace_options: { pid: 1 } };

/** A container's configuration; `more` is merged over it. */
export function containerConfig(command: string[], more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    metadata: { name: "main", attempt: 1 },
    image: { image: busybox },
    command,
    log_path: "main.log",
    linux: { security_context: ownPid },
    ...more,
  };
}

/** Runs a pod with one started container. */
export async function runContainer(
  node: TestNode,
  command: string[],
  more: { pod?: Record<string, unknown>; container?: Record<string, unknown> } = {},
): Promise<{ pod: string; container: string; logDirectory: string }> {
  const podJson = podConfig(node, more.pod);
  const podFile = node.file(`pod-${serial}.json`, podJson);
  const containerFile = node.file(`container-${serial}.json`, containerConfig(command, more.container));
  const pod = await node.crictl("runp", podFile);
  const container = await node.crictl("create", "--no-pull", pod, containerFile, podFile);
  await node.crictl("start", container);
  return { pod, container, logDirectory: String(podJson.log_directory) };
}

export interface Inspected {
  status: {
    state: string;
    exitCode: number;
    reason: string;
    message: string;
    createdAt: string;
    startedAt: string;
    finishedAt: string;
    mounts: unknown[];
  };
  info: { pid?: number; runtimeSpec?: Record<string, unknown> };
}

/** Polls `crictl inspect` until the container has exited. */
export async function exited(node: TestNode, container: string): Promise<Inspected["status"]> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const { status } = await node.json<Inspected>("inspect", container);
    if (status.state === "CONTAINER_EXITED") return status;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`container ${container} does not exit`);
}
