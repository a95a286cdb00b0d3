import type { PodConfig } from "../records/pod-config.ts";

/**
 * Annotations of a spec in the names that containerd gave them: the shim groups by `sandbox-id`; sandboxed runtimes (kata, gVisor) tell pod and
 * container apart by `container-type`; NRI and monitoring tools read the rest.
 */
export function podAnnotations(id: string, pod: PodConfig, imageName: string): Record<string, string> {
  const resources = pod.resources;
  return {
    ...common(id, pod),
    "io.kubernetes.cri.container-type": "sandbox",
    "io.kubernetes.cri.sandbox-log-directory": pod.logDirectory,
    "io.kubernetes.cri.podsandbox.image-name": imageName,
    ...(resources !== undefined && {
      "io.kubernetes.cri.sandbox-cpu-period": String(resources.cpuPeriod),
      "io.kubernetes.cri.sandbox-cpu-quota": String(resources.cpuQuota),
      "io.kubernetes.cri.sandbox-cpu-shares": String(resources.cpuShares),
      "io.kubernetes.cri.sandbox-memory": String(resources.memoryLimitBytes),
    }),
  };
}

export function containerAnnotations(
  podId: string,
  pod: PodConfig,
  container: { name: string; imageName: string },
): Record<string, string> {
  return {
    ...common(podId, pod),
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.container-name": container.name,
    "io.kubernetes.cri.image-name": container.imageName,
  };
}

function common(podId: string, pod: PodConfig): Record<string, string> {
  return {
    "io.kubernetes.cri.sandbox-id": podId,
    "io.kubernetes.cri.sandbox-name": pod.name,
    "io.kubernetes.cri.sandbox-namespace": pod.namespace,
    "io.kubernetes.cri.sandbox-uid": pod.uid,
  };
}
