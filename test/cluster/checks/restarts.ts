import assert from "node:assert/strict";
import type { Cluster } from "../cluster.ts";
import { isReady, type KubeObject, statusOf } from "../kubectl.ts";
import type { ClusterNode } from "../node.ts";
import { agnhost, deployment, idle, pod, shell } from "../objects.ts";
import { alone, type Check, type CheckContext } from "../runner.ts";
import { pause, until } from "../shell.ts";

const quick = { periodSeconds: 1, failureThreshold: 3, timeoutSeconds: 3 };

/** Pods that notice a runtime that is away: probes of each kind, and one that counts into its log. */
async function load({ cluster, run: start }: CheckContext, node: ClusterNode): Promise<void> {
  const onNode = (name: string, container: Record<string, unknown>): object => pod(name, { nodeName: node.name, containers: [container] });
  await start(
    onNode(
      "exec",
      idle({ readinessProbe: { exec: { command: ["true"] }, ...quick }, livenessProbe: { exec: { command: ["true"] }, ...quick } }),
    ),
    onNode("http", {
      name: "main",
      image: agnhost,
      args: ["netexec"],
      readinessProbe: { httpGet: { path: "/healthz", port: 8080 }, ...quick },
    }),
    onNode("counter", shell("i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done")),
  );
  assert.ok(cluster.nodes.includes(node));
}

/** The counter's lines so far, which must have no gap. */
async function countedWithoutGap({ cluster, namespace }: CheckContext): Promise<number> {
  const lines = (await cluster.kubectl.logs("counter", namespace)).trimEnd().split("\n");
  assert.deepEqual(
    lines,
    lines.map((_, index) => String(index)),
  );
  return lines.length;
}

const probed = ["exec", "http"];

/** Failed probes of pods. One that the runtime could not run at all counts neither way. */
async function complaints({ cluster, namespace }: CheckContext, names: readonly string[]): Promise<string[]> {
  const events = await Promise.all(names.map((name) => cluster.kubectl.events(name, namespace)));
  return events
    .flat()
    .filter(({ reason }) => reason === "Unhealthy" || reason === "Killing")
    .map(({ message }) => message)
    .filter((message) => !message.includes("errored and resulted in unknown state"));
}

/** What is left on a node of pods that are gone: addresses, shims, network namespaces. */
async function leftovers(cluster: Cluster, node: ClusterNode): Promise<string[]> {
  const { items } = JSON.parse(await node.run(["crictl", "pods", "-o", "json"])) as { items: { id: string; state: string }[] };
  const ready = new Set(items.filter(({ state }) => state === "SANDBOX_READY").map(({ id }) => id));
  const found: string[] = [];
  const addresses = await node.shell("cd /var/lib/cni/networks/podnet 2>/dev/null && head -qn1 10.* 2>/dev/null || true");
  for (const id of addresses.split(/\s+/).filter(Boolean))
    if (!items.some((item) => item.id === id)) found.push(`address of sandbox ${id}`);
  const shims = await node.shell("pgrep -fa '^\\S*containerd-shim-runc-v2 .*-id' || true");
  for (const line of shims.split("\n").filter(Boolean)) {
    const id = /-id ([0-9a-f]{64})/.exec(line)?.[1];
    if (id !== undefined && !ready.has(id)) found.push(`shim of sandbox ${id} (${cluster.runtime})`);
  }
  return found;
}

/** What pods notice when the programs below them go and come. */
export const restartChecks: readonly Check[] = [
  alone("the runtime is killed under load and started again: nothing restarts, no probe fails, no line is lost", async (context) => {
    const { cluster, namespace } = context;
    const node = cluster.worker;
    await load(context, node);
    const before = await complaints(context, probed);
    for (let round = 0; round < 3; round++) {
      await node.signalService(cluster.runtime, "SIGKILL");
      await cluster.runtimeReady(node);
      // The kubelet's gRPC client dials again after a pause of its own.
      await until("exec after the restart", 10_000, async () =>
        (await cluster.kubectl.exec("counter", namespace, ["echo", "back"])) === "back\n" ? true : undefined,
      );
      await pause(2000);
    }
    for (const name of [...probed, "counter"]) {
      const object = await cluster.kubectl.get("pod", name, namespace);
      assert.equal(statusOf(object).restartCount, 0, `${name} was restarted`);
      assert.ok(isReady(object), `${name} is not Ready`);
    }
    assert.deepEqual(await complaints(context, probed), before);
    const lines = await countedWithoutGap(context);
    await pause(500);
    assert.ok((await countedWithoutGap(context)) > lines);
    await context.run(pod("after", { nodeName: node.name }));
  }),

  alone(
    "the runtime stays away for 8 s: the application is not blocked and no line is lost",
    async (context) => {
      const { cluster } = context;
      const node = cluster.worker;
      // More than a pipe holds in that time.
      const script =
        "i=0; while :; do echo $i xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; i=$((i+1)); echo $i >/tmp/count; sleep 0.002; done";
      await context.run(pod("writer", { nodeName: node.name, containers: [shell(script)] }));
      await pause(1000);
      await node.run(["touch", `/run/init/${cluster.runtime}.down`]);
      await node.signalService(cluster.runtime, "SIGKILL");
      await pause(8000);
      const file = (await node.shell(`ls /var/log/pods/${context.namespace}_writer_*/main/0.log`)).trim();
      const size = async (): Promise<number> => Number(await node.run(["stat", "-c", "%s", file]));
      const first = await size();
      await pause(1000);
      const grown = (await size()) - first;
      await node.startService(cluster.runtime);
      await cluster.runtimeReady(node);
      assert.ok(grown > 1000, `the log grew by ${grown} bytes in a second without the runtime`);
    },
    ({ runtime }) => (runtime === "containerd" ? "containerd blocks the application when it is away" : undefined),
  ),

  alone("the kubelet restarts: containers stay, with their sandboxes", async (context) => {
    const { cluster, namespace } = context;
    const node = cluster.worker;
    await load(context, node);
    const ids = async (): Promise<string> => (await node.run(["crictl", "ps", "-q", "--namespace", namespace])).split("\n").sort().join();
    const before = await ids();
    await node.restartService("kubelet");
    await cluster.ready();
    await pause(5000);
    assert.equal(await ids(), before);
    assert.equal(statusOf(await cluster.kubectl.get("pod", "counter", namespace)).restartCount, 0);
  }),

  alone(
    "a node reboots: every pod comes back with an address of its own, none of the old is left",
    async (context) => {
      const { cluster, namespace, run: start } = context;
      const node = cluster.worker;
      const names = ["a", "b", "c", "d"];
      const before = await start(...names.map((name) => pod(name, { nodeName: node.name })));
      const started = (object: KubeObject): string => statusOf(object).containerID ?? "";
      await cluster.reboot(node);
      for (const [index, name] of names.entries()) {
        const old = before[index];
        assert.ok(old !== undefined);
        await cluster.kubectl.pod(name, namespace, "back", (object) => isReady(object) && started(object) !== started(old), 120_000);
        assert.equal(await cluster.kubectl.exec(name, namespace, ["echo", "back"]), "back\n");
      }
      await cluster.ready();
      const addresses = await Promise.all(names.map(async (name) => (await cluster.kubectl.get("pod", name, namespace)).status?.podIP));
      assert.equal(new Set(addresses).size, names.length);
      assert.deepEqual(await leftovers(cluster, node), []);
    },
    ({ nodes }) => (nodes.length < 2 ? "needs a second node" : undefined),
  ),

  alone("60 pods at once on one node are all Running, and gone without a trace", async ({ cluster, namespace, create }) => {
    const node = cluster.worker;
    const start = performance.now();
    await create(deployment("many", 60, { nodeName: node.name, containers: [{ name: "main", image: "registry.k8s.io/pause:3.10.2" }] }));
    await until(
      "60 pods",
      300_000,
      async () => ((await cluster.kubectl.get("deployment", "many", namespace)).status?.readyReplicas === 60 ? true : undefined),
      () => cluster.kubectl.run(["get", "pods", "-n", namespace]),
    );
    cluster.timings["60 pods Running"] = Math.round((performance.now() - start) / 100) / 10;
    const end = performance.now();
    await cluster.kubectl.run(["delete", "deployment", "many", "-n", namespace]);
    await until("60 pods to go", 300_000, async () =>
      (await cluster.kubectl.run(["get", "pods", "-n", namespace, "-o", "name"])) === "" ? true : undefined,
    );
    cluster.timings["60 pods gone"] = Math.round((performance.now() - end) / 100) / 10;
    await until("the sandboxes to go", 120_000, async () =>
      (await node.run(["crictl", "pods", "-q", "--namespace", namespace])) === "" ? true : undefined,
    );
    assert.deepEqual(await leftovers(cluster, node), []);
  }),
];
