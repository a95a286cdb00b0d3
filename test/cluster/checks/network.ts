import assert from "node:assert/strict";
import { agnhost, deployment, idle, nginx, pod, service, shell } from "../objects.ts";
import { type Check, together } from "../runner.ts";
import { until } from "../shell.ts";

const web = { containers: [{ name: "main", image: nginx, ports: [{ containerPort: 80 }] }] };
const fetch = (url: string): string[] => ["wget", "-q", "-T", "3", "-O", "-", url];
const twoNodes = (cluster: { nodes: readonly unknown[] }): string | undefined => (cluster.nodes.length < 2 ? "needs two nodes" : undefined);

/** Pods, services and names reach each other. */
export const networkChecks: readonly Check[] = [
  together(
    "pods of both nodes reach each other by address, and see the sender's own address",
    async ({ cluster, namespace, run }) => {
      const on = (name: string, index: number): object =>
        pod(name, { nodeName: cluster.node(index).name, containers: [{ name: "main", image: agnhost, args: ["netexec"] }] });
      const [a, b] = await run(on("a", 0), on("b", 1));
      const from = async (name: string, to: string): Promise<string> =>
        cluster.kubectl.exec(name, namespace, fetch(`http://${to}:8080/clientip`));
      assert.match(await from("a", b?.status?.podIP ?? ""), new RegExp(`^${a?.status?.podIP}:`));
      assert.match(await from("b", a?.status?.podIP ?? ""), new RegExp(`^${b?.status?.podIP}:`));
    },
    twoNodes,
  ),

  together("a Deployment with a NodePort Service answers on every node, by ClusterIP and by name", async ({ cluster, namespace, run }) => {
    await run(deployment("web", 3, web), service("web", 80, 80, "NodePort"), pod("client"));
    await cluster.kubectl.run(["rollout", "status", "deployment/web", "-n", namespace, "--timeout=80s"], { timeoutMs: 90_000 });
    const { spec } = await cluster.kubectl.get("service", "web", namespace);
    for (const node of cluster.nodes) {
      const url = `http://${node.address}:${spec?.ports?.[0]?.nodePort}/`;
      await until(`an answer from ${url}`, 20_000, async () =>
        (await node.run(["curl", "-sf", "-m", "3", "-o", "/dev/null", url])) === "" ? true : undefined,
      );
    }
    for (const host of [spec?.clusterIP, "web", `web.${namespace}.svc.cluster.local`])
      await cluster.kubectl.exec("client", namespace, fetch(`http://${host}/`));
  }),

  together("hairpin: a pod reaches itself through its Service", async ({ cluster, namespace, run }) => {
    await run(pod("web", { containers: [{ name: "main", image: nginx }] }), service("web", 80, 80));
    await until("the hairpin", 20_000, async () =>
      (await cluster.kubectl.exec("web", namespace, fetch("http://web/"))) !== "" ? true : undefined,
    );
  }),

  together("DNS: names inside and outside of the cluster", async ({ cluster, namespace, run }) => {
    await run(pod("p"));
    const lookup = (name: string): Promise<string> => cluster.kubectl.exec("p", namespace, ["nslookup", name]);
    assert.match(await lookup("kubernetes.default.svc.cluster.local"), /10\.96\.0\.1/);
    assert.match(await lookup("outside.test"), /192\.0\.2\.7/);
  }),

  together("hostPort: tcp and udp, on the node's address and gone with the pod", async ({ cluster, namespace, run }) => {
    const node = cluster.worker;
    const ports = [
      { containerPort: 8080, hostPort: 18080 },
      { containerPort: 8081, hostPort: 18081, protocol: "UDP" },
    ];
    await run(
      pod("p", { nodeName: node.name, containers: [{ name: "main", image: agnhost, args: ["netexec"], ports }] }),
      pod("client", { nodeName: cluster.control.name }),
    );
    const url = `http://${node.address}:18080/hostname`;
    assert.equal(await cluster.kubectl.exec("client", namespace, fetch(url)), "p");
    assert.equal(await node.run(["curl", "-sf", "-m", "3", "http://127.0.0.1:18080/hostname"]), "p");
    const answer = await cluster.kubectl.exec("client", namespace, ["sh", "-c", `echo hostname | nc -u -w 2 ${node.address} 18081`]);
    assert.equal(answer, "p");
    await cluster.kubectl.run(["delete", "pod", "p", "-n", namespace]);
    assert.notEqual((await node.try(["curl", "-sf", "-m", "3", url])).status, 0);
  }),

  together("a pod reaches the API server with its own token", async ({ cluster, namespace, run }) => {
    await run(pod("p", { containers: [{ name: "main", image: agnhost, args: ["inclusterclient", "--poll-interval=1"] }] }));
    const log = await until("three calls", 20_000, async () => {
      const text = await cluster.kubectl.logs("p", namespace);
      return text.split("calling /healthz").length > 3 ? text : undefined;
    });
    assert.match(log, /authz_header=\S{40}/);
    assert.doesNotMatch(log, /status=failed|<empty>/);
  }),

  together("an address of a pod that is gone is used again only when free; a new pod gets another", async ({ cluster, namespace, run }) => {
    const containers = [idle(), shell("exec sleep 1000", { name: "other" })];
    const [first] = await run(pod("first", { nodeName: cluster.worker.name, containers }));
    const [second] = await run(pod("second", { nodeName: cluster.worker.name }));
    assert.notEqual(first?.status?.podIP, second?.status?.podIP);
    // Containers of a pod share its network.
    assert.equal(await cluster.kubectl.exec("first", namespace, ["hostname", "-i"], { container: "other" }), `${first?.status?.podIP}\n`);
  }),
];
