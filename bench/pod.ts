import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { runtime } from "../api/cri/runtime/v1/api.js";
import type { Peer } from "./peer.ts";

export const busybox = "registry.k8s.io/e2e-test-images/busybox:1.29-2";

type SandboxConfig = runtime.v1.PodSandboxConfig.$Properties;

let serial = 0;

/** A pod of its own name, as the kubelet would ask for it. */
export function podConfig(directory: string, options: { hostNetwork?: boolean } = {}): SandboxConfig {
  const name = `bench-${process.pid}-${++serial}`;
  const logDirectory = join(directory, "logs", name);
  mkdirSync(logDirectory, { recursive: true });
  return {
    metadata: { name, namespace: "bench", uid: name, attempt: 0 },
    hostname: options.hostNetwork === true ? "" : name,
    logDirectory,
    dnsConfig: { servers: ["10.0.0.10"], searches: ["svc.cluster.local"], options: ["ndots:5"] },
    linux: {
      cgroupParent: `/bench-${process.pid}`,
      securityContext: { namespaceOptions: { network: options.hostNetwork === true ? 2 : 0, pid: 1 } },
    },
  };
}

/** A container that runs a shell command. */
export async function createContainer(
  peer: Peer,
  podId: string,
  pod: SandboxConfig,
  command: string[],
  name = "main",
  image = busybox,
): Promise<string> {
  const { containerId } = await peer.client.createContainer({
    podSandboxId: podId,
    config: {
      metadata: { name, attempt: 0 },
      image: { image },
      command,
      logPath: `${name}.log`,
      linux: { resources: {}, securityContext: {} },
    },
    sandboxConfig: pod,
  });
  return containerId;
}

/** Runs the call and answers its milliseconds and its value. */
export async function timed<T>(call: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const started = performance.now();
  const value = await call();
  return { ms: performance.now() - started, value };
}
