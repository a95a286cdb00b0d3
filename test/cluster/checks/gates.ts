import assert from "node:assert/strict";
import type { Cluster } from "../cluster.ts";
import type { ClusterNode } from "../node.ts";
import { idle, pod, shell } from "../objects.ts";
import { alone, type Check } from "../runner.ts";
import { pause, until } from "../shell.ts";

/** Runs the worker's kubelet with feature gates while `use` runs. */
async function gated(cluster: Cluster, gates: string, use: (node: ClusterNode) => Promise<void>): Promise<void> {
  const node = cluster.worker;
  await node.write("/etc/default/kubelet", `KUBELET_EXTRA_ARGS="--feature-gates=${gates}"\n`);
  await node.restartService("kubelet");
  try {
    await cluster.ready();
    await use(node);
  } finally {
    await node.run(["rm", "/etc/default/kubelet"]);
    await node.restartService("kubelet");
    await cluster.ready();
  }
}

/** How often crid has answered an RPC so far. */
async function calls(cluster: Cluster, node: ClusterNode, rpc: string): Promise<number> {
  if (cluster.runtime !== "crid") return 0;
  return Number((await node.shell(`grep -cE ' ${rpc}( |$)' /var/log/${cluster.runtime}.log || true`)).trim());
}

async function used(cluster: Cluster, node: ClusterNode, rpcs: readonly string[]): Promise<void> {
  if (cluster.runtime !== "crid") return;
  for (const rpc of rpcs) await until(`a call of ${rpc}`, 60_000, async () => ((await calls(cluster, node, rpc)) > 0 ? true : undefined));
}

/** Kubelet features that are off by default. */
export const gateChecks: readonly Check[] = [
  alone("feature gate EventedPLEG: the kubelet follows the runtime's events", async ({ cluster, namespace, create, run }) => {
    await gated(cluster, "EventedPLEG=true", async (node) => {
      await run(pod("p", { nodeName: node.name }));
      await create(pod("q", { nodeName: node.name, restartPolicy: "Never", containers: [shell("exit 3")] }));
      await cluster.kubectl.pod("q", namespace, "Failed", (object) => object.status?.phase === "Failed");
      await cluster.kubectl.run(["delete", "pod", "p", "q", "-n", namespace]);
    });
    // The stream is in the log once it has ended, with the kubelet that asked for it.
    await used(cluster, cluster.worker, ["GetContainerEvents"]);
  }),

  alone("feature gate CRIListStreaming: lists come as streams", async ({ cluster, run }) => {
    await gated(cluster, "CRIListStreaming=true", async (node) => {
      await run(pod("p", { nodeName: node.name }));
      await used(cluster, node, ["StreamPodSandboxes", "StreamContainers"]);
    });
  }),

  alone("feature gate PodAndContainerStatsFromCRI: the summary has the runtime's numbers", async ({ cluster, namespace, run }) => {
    await gated(cluster, "PodAndContainerStatsFromCRI=true", async (node) => {
      await run(
        pod("p", {
          nodeName: node.name,
          containers: [shell("while :; do :; done", { resources: { limits: { cpu: "100m" } } }), idle({ name: "other" })],
        }),
      );
      await pause(12_000);
      const summary = JSON.parse(await cluster.kubectl.run(["get", "--raw", `/api/v1/nodes/${node.name}/proxy/stats/summary`])) as {
        pods: {
          podRef: { namespace: string };
          network?: { rxBytes?: number };
          cpu?: { usageNanoCores?: number };
          memory?: { workingSetBytes?: number };
          containers: unknown[];
        }[];
      };
      const stats = summary.pods.find(({ podRef }) => podRef.namespace === namespace);
      assert.ok(stats !== undefined);
      assert.ok((stats.network?.rxBytes ?? 0) > 0, "network");
      assert.ok((stats.cpu?.usageNanoCores ?? 0) > 10_000_000, JSON.stringify(stats.cpu));
      assert.ok((stats.memory?.workingSetBytes ?? 0) > 0, "memory");
      assert.equal(stats.containers.length, 2);
      const metrics = await cluster.kubectl.run(["get", "--raw", `/api/v1/nodes/${node.name}/proxy/metrics/cadvisor`]);
      assert.match(metrics, new RegExp(`container_cpu_usage_seconds_total\\{[^}]*namespace="${namespace}"`));
      await used(cluster, node, ["ListPodSandboxStats", "ListPodSandboxMetrics"]);
    });
  }),
];
