import type { PodSandbox } from "../nri/messages.ts";
import { podAnnotations } from "../oci/annotations.ts";
import { podNamespaces } from "../oci/namespaces.ts";
import { criResourcesForPlugins } from "../oci/plugin-resources.ts";
import { namespacesForPlugins } from "../oci/plugin-view.ts";
import type { SandboxRecord } from "../records/sandbox-record.ts";

/** A pod as plugins see it. */
export function podForPlugins(pod: { record: SandboxRecord; cgroupsPath: string }): PodSandbox {
  const { record } = pod;
  const { config } = record;
  const { overhead, resources } = config;
  // A network namespace that is gone helps nobody.
  const { namespaces } = podNamespaces(config.security.namespaces, record.state === "not-ready" ? "" : record.netnsPath);
  return {
    id: record.id,
    name: config.name,
    uid: config.uid,
    namespace: config.namespace,
    labels: config.labels,
    annotations: { ...podAnnotations(record.id, config, "", {}), ...config.annotations },
    runtimeHandler: record.runtimeHandler,
    linux: {
      ...(overhead !== undefined && { podOverhead: criResourcesForPlugins(overhead) }),
      ...(resources !== undefined && { podResources: criResourcesForPlugins(resources) }),
      cgroupParent: config.cgroupParent,
      cgroupsPath: pod.cgroupsPath,
      namespaces: namespacesForPlugins(namespaces.filter(({ type, path }) => type !== "network" || path !== "")),
    },
    pid: record.process?.pid ?? 0,
    ips: record.ips,
  };
}
