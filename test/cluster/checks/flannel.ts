import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Cluster } from "../cluster.ts";
import type { KubeObject } from "../kubectl.ts";
import { kube } from "../machine.ts";
import { agnhost, deployment, nginx, pod, service } from "../objects.ts";
import { alone, type Check } from "../runner.ts";
import { until } from "../shell.ts";

const own = "/etc/cni/net.d/10-podnet.conflist";

async function readiness(cluster: Cluster): Promise<string[]> {
  const { items } = await cluster.kubectl.list("nodes");
  return items.map(({ status }) => status?.conditions?.find(({ type }) => type === "Ready")?.status ?? "");
}

async function allNodes(cluster: Cluster, status: string): Promise<void> {
  await until(
    `all nodes Ready ${status}`,
    120_000,
    async () => ((await readiness(cluster)).every((each) => each === status) ? true : undefined),
    () => cluster.kubectl.run(["describe", "nodes"]),
  );
}

/** Every pod with a network of its own goes, and comes back by its controller with one of the network that there is then. */
async function replacePods(cluster: Cluster): Promise<void> {
  for (const label of ["k8s-app=kube-dns", "k8s-app=metrics-server"])
    await cluster.kubectl.run(["delete", "pods", "-n", "kube-system", "-l", label, "--wait=false"]);
}

/** Takes the bridge away, which the next network wants with other addresses; pods that still hang on it are gone by then. */
async function clearBridge(cluster: Cluster): Promise<void> {
  for (const node of cluster.nodes) {
    await until(`the pods of ${node.name} to let go of the bridge`, 60_000, async () =>
      (await node.shell("ls /sys/class/net/cni0/brif 2>/dev/null || true")).trim() === "" ? true : undefined,
    );
    await node.shell("ip link delete cni0 2>/dev/null || true; rm -rf /var/lib/cni/networks/cbr0");
  }
}

/** A pod network that is not there when the nodes come up, but brings itself: upstream's manifest of flannel, its daemon, vxlan. */
export const flannelChecks: readonly Check[] = [
  alone(
    "flannel installs its plugin and conflist itself: NotReady before, Ready after, without a restart of the runtime",
    async (context) => {
      const { cluster, namespace, run } = context;
      const { kubectl } = cluster;
      const pids = await Promise.all(cluster.nodes.map((node) => node.servicePid(cluster.runtime)));
      // A node that has left and come back has routes to both of its networks.
      const routes = "ip route | awk '/^10.244.* via / { print $1 }' | xargs -rn1 ip route delete";
      for (const node of cluster.nodes) await node.shell(`rm -f ${own}; ${routes}`);
      try {
        await allNodes(cluster, "False");
        const { items } = await kubectl.list("nodes");
        for (const { status } of items)
          assert.match(status?.conditions?.find(({ type }) => type === "Ready")?.message ?? "", /network|cni/i);
        await replacePods(cluster);
        await clearBridge(cluster);
        assert.equal((await cluster.worker.try(["ls", "/opt/cni/bin/flannel"])).status === 0, false);
        await kubectl.run(["apply", "-f", "-"], { input: readFileSync(join(kube, "manifests/flannel.yaml"), "utf8") });
        await allNodes(cluster, "True");
        await cluster.systemReady();
        const on = (name: string, index: number): object => ({
          ...pod(name, { nodeName: cluster.node(index).name, containers: [{ name: "main", image: agnhost, args: ["netexec"] }] }),
        });
        const [a, b] = await run(on("a", 0), on("b", cluster.nodes.length - 1));
        const ip = (object: KubeObject | undefined): string => object?.status?.podIP ?? "";
        const fetch = (from: string, url: string): Promise<string> =>
          kubectl.exec(from, namespace, ["wget", "-q", "-T", "3", "-O", "-", url]);
        assert.match(await fetch("a", `http://${ip(b)}:8080/clientip`), new RegExp(`^${ip(a)}:`));
        assert.match(await fetch("b", `http://${ip(a)}:8080/clientip`), new RegExp(`^${ip(b)}:`));
        await run(deployment("web", 2, { containers: [{ name: "main", image: nginx }] }), service("web", 80, 80));
        await kubectl.run(["rollout", "status", "deployment/web", "-n", namespace, "--timeout=80s"], { timeoutMs: 90_000 });
        // By its name: DNS, which was there before flannel was, and the service.
        await until("the service by name", 30_000, async () => ((await fetch("a", "http://web/")) !== "" ? true : undefined));
        assert.match(await cluster.worker.run(["ip", "-d", "link", "show", "flannel.1"]), /vxlan/);
        await kubectl.run(["delete", "deployment,pods,services", "--all", "-n", namespace]);
      } finally {
        await kubectl.try(["delete", "-f", "-", "--ignore-not-found", "--wait=true"], {
          input: readFileSync(join(kube, "manifests/flannel.yaml"), "utf8"),
          timeoutMs: 120_000,
        });
        for (const node of cluster.nodes) await node.run(["rm", "-f", "/etc/cni/net.d/10-flannel.conflist"]);
        await replacePods(cluster);
        await clearBridge(cluster);
        for (const node of cluster.nodes) {
          await node.shell("rm -rf /opt/cni/bin/flannel /run/flannel; ip link delete flannel.1 2>/dev/null || true");
          await cluster.network(node);
        }
        await cluster.ready(180_000);
      }
      assert.deepEqual(await Promise.all(cluster.nodes.map((node) => node.servicePid(cluster.runtime))), pids);
    },
  ),
];
