import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { docsCommands } from "../../../hack/docs-block.ts";
import type { Cluster } from "../cluster.ts";
import { isReady, type KubeObject, statusOf } from "../kubectl.ts";
import { repo } from "../machine.ts";
import type { ClusterNode } from "../node.ts";
import { idle, nginx, pod, shell } from "../objects.ts";
import { alone, type Check, type CheckContext } from "../runner.ts";
import { cridConfiguration, type RuntimeName, release } from "../runtimes.ts";
import { must, pause, until } from "../shell.ts";

/** The first commit of which hack/package makes a release. */
const firstRelease = "79ee0fa21b4f3ba9063da3295eaccc6bf372522e";

const needs = ({ nodes, runtime }: Cluster): string | undefined =>
  runtime !== "crid" ? "is about crid" : nodes.length < 2 ? "needs a second node" : undefined;

function withHistory(cluster: Cluster): string | undefined {
  const known = spawnSync("git", ["-C", repo, "cat-file", "-e", firstRelease]).status === 0;
  return needs(cluster) ?? (known ? undefined : "needs the history of the repository, to build an older release");
}

/** Runs a block of docs/install.md on a node as its root would: in a folder with the release, with kubectl's configuration. */
async function follow(cluster: Cluster, node: ClusterNode, name: string, values: Record<string, string> = {}): Promise<void> {
  await node.write("/root/.kube/config", readFileSync(cluster.kubectl.kubeconfig, "utf8"));
  await node.shell(`cd /root\n${docsCommands("install.md", name, values)}`, { timeoutMs: 180_000 });
}

/** Waits until a node has no pods of checks any more, as a drain refuses to end what nobody would start again. */
async function emptied(cluster: Cluster, node: ClusterNode): Promise<void> {
  const list = (): Promise<string> =>
    cluster.kubectl.run([
      "get",
      "pods",
      "-A",
      "--no-headers",
      `--field-selector=spec.nodeName=${node.name},metadata.namespace!=kube-system`,
    ]);
  await until(`the pods of ${node.name} to go`, 90_000, async () => ((await list()).trim() === "" ? true : undefined), list);
}

/** Puts a tarball into the folder from which docs/ unpack it. */
async function fetchRelease(node: ClusterNode, tarball: string): Promise<{ "<version>": string }> {
  const name = basename(tarball);
  await node.run(["mkdir", "-p", "/root"]);
  await must(["sh", "-c", '"$@" <"$0"', tarball, ...node.inside(["sh", "-c", `cat >/root/${name}`])], { timeoutMs: 120_000 });
  return { "<version>": /^crid-(.*)-linux-/.exec(name)?.[1] ?? "" };
}

/** Waits until the kubelet of a node says that this runtime is below it, and runs a pod there. */
async function runsOn(context: CheckContext, node: ClusterNode, runtime: RuntimeName, name: string): Promise<KubeObject> {
  const { cluster, namespace, create } = context;
  await until(
    `${node.name} on ${runtime}`,
    120_000,
    async () => {
      const { status } = await cluster.kubectl.json<KubeObject>(["get", "node", node.name]);
      const ready = status?.conditions?.some((each) => each.type === "Ready" && each.status === "True") === true;
      return ready && status?.nodeInfo?.containerRuntimeVersion?.startsWith(`${runtime}://`) === true ? true : undefined;
    },
    () => cluster.kubectl.run(["describe", "node", node.name]),
  );
  await create(pod(name, { nodeName: node.name, containers: [{ name: "main", image: nginx, imagePullPolicy: "Always" }] }));
  return cluster.kubectl.ready(name, namespace, 120_000);
}

/** The node's share of the pod network, made of the example that the release brings. */
async function exampleNetwork(cluster: Cluster, node: ClusterNode): Promise<void> {
  const cidr = await until(`the pod range of ${node.name}`, 60_000, () => cluster.podCidr(node));
  await node.run(["sed", "-i", `s|10.244.0.0/24|${cidr}|`, "/usr/share/crid/cni/10-crid.conflist"]);
  await node.run(["rm", "-rf", "/etc/cni/net.d"]);
  await follow(cluster, node, "conflist");
}

/** Everything that the page on removing says it takes away. */
const ofCrid = "/usr/bin/crid /usr/lib/crid /usr/share/crid /var/lib/crid /run/crid /etc/crid /usr/lib/systemd/system/crid.service";

/** Nodes that come to crid, leave it, and get another version of it, by the words of docs/install.md. */
export const movingChecks: readonly Check[] = [
  alone(
    "an older release is upgraded in place: its pods stay, exec and logs go on, its images are there",
    async (context) => {
      const { cluster, namespace, run } = context;
      const node = cluster.worker;
      const old = (await must([`${repo}/hack/old-release`, firstRelease], { timeoutMs: 600_000 })).trim();
      // To the older release, as a node that never had another: nothing of the present store.
      await cluster.kubectl.run(["drain", node.name, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--grace-period=1"]);
      await node.shell(`systemctl stop kubelet; crictl rmp -fa; systemctl stop crid; crid logger --stop --state /run/crid
        umount -R /var/lib/crid/snapshots 2>/dev/null || true
        rm -rf /var/lib/crid /run/crid /usr/lib/crid`);
      await fetchRelease(node, old);
      await follow(cluster, node, "unpack", { "<version>": "0.1.0" });
      await node.shell("systemctl start crid kubelet");
      await cluster.kubectl.run(["uncordon", node.name]);
      await cluster.ready();
      const counter = shell("i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done");
      const probed = idle({ livenessProbe: { exec: { command: ["true"] }, periodSeconds: 1, failureThreshold: 3, timeoutSeconds: 5 } });
      const web = { name: "main", image: nginx };
      const before = await run(
        ...[counter, probed, web].map((container, index) => pod(`p${index}`, { nodeName: node.name, containers: [container] })),
        pod("spare", { nodeName: node.name, hostUsers: false, containers: [idle()] }),
      );
      const images = await node.run(["crictl", "images", "-q"]);

      await fetchRelease(node, release);
      await follow(cluster, node, "upgrade", { "<new version>": "0.1.0" });
      await cluster.runtimeReady(node);
      await until("exec after the upgrade", 20_000, async () =>
        (await cluster.kubectl.exec("p0", namespace, ["echo", "back"])) === "back\n" ? true : undefined,
      );
      await pause(5000);
      for (const old of before) {
        const now = await cluster.kubectl.get("pod", old.metadata.name, namespace);
        assert.equal(statusOf(now).containerID, statusOf(old).containerID, old.metadata.name);
        assert.ok(isReady(now), `${old.metadata.name} is not Ready`);
        assert.equal(await cluster.kubectl.exec(old.metadata.name, namespace, ["echo", "hi"]), "hi\n");
      }
      const lines = (await cluster.kubectl.logs("p0", namespace)).trimEnd().split("\n");
      assert.deepEqual(
        lines,
        lines.map((_, index) => String(index)),
      );
      assert.equal(await node.run(["crictl", "images", "-q"]), images);
      await run(pod("after", { nodeName: node.name }));
      await cluster.kubectl.run(["delete", "pods", "--all", "-n", namespace]);
    },
    withHistory,
  ),

  alone(
    "a node moves from crid to containerd and back again, as docs/install.md says",
    async (context) => {
      const { cluster, namespace } = context;
      const node = cluster.worker;
      const values = { NODE: node.name };
      await emptied(cluster, node);
      await follow(cluster, node, "back", values);
      await runsOn(context, node, "containerd", "there");
      await cluster.kubectl.run(["delete", "pod", "there", "-n", namespace]);
      await follow(cluster, node, "leave", values);
      assert.equal((await node.shell("pgrep -fc '^\\S*containerd-shim-runc-v2' || true")).trim(), "0");
      // Without a word about mirrors: containerd's are found.
      await node.run(["mv", "/etc/crid/config.yaml", "/root/config.yaml"]);
      await follow(cluster, node, "unpack", await fetchRelease(node, release));
      await follow(cluster, node, "plugins");
      await follow(cluster, node, "start");
      await cluster.runtimeReady(node);
      const advice = await node.shell(`${docsCommands("install.md", "doctor")} || true`);
      assert.match(advice, /FAIL {2}kubelet's endpoint: .* leads the kubelet to unix:\/\/\/run\/containerd\/containerd\.sock/);
      await follow(cluster, node, "arrive", values);
      await runsOn(context, node, "crid", "here");
      await cluster.kubectl.run(["delete", "pod", "here", "-n", namespace]);
      await node.shell("rm -r /etc/crid/conf.d; mv /root/config.yaml /etc/crid/config.yaml; systemctl restart crid");
      await cluster.runtimeReady(node);
      await cluster.ready();
    },
    needs,
  ),

  alone(
    "crid is removed without a trace and installed anew, as docs/install.md says",
    async (context) => {
      const { cluster } = context;
      const node = cluster.worker;
      await emptied(cluster, node);
      await follow(cluster, node, "remove", { NODE: node.name });
      assert.equal((await node.shell(`ls -d ${ofCrid} 2>/dev/null || true`)).trim(), "");
      assert.equal((await node.shell("grep -E ' /(var/lib|run)/crid' /proc/mounts || true")).trim(), "");
      assert.equal((await node.shell("pgrep -fa '^(/usr/lib/crid/|\\S*containerd-shim)' || true")).trim(), "");
      await follow(cluster, node, "unpack", await fetchRelease(node, release));
      await node.write("/etc/crid/config.yaml", cridConfiguration(cluster.machine));
      await follow(cluster, node, "start");
      await cluster.runtimeReady(node);
      await follow(cluster, node, "doctor");
      await cluster.join(node, "crid");
      await exampleNetwork(cluster, node);
      await runsOn(context, node, "crid", "again");
      await node.run(["rm", "/etc/cni/net.d/10-crid.conflist"]);
      await cluster.network(node);
      await cluster.ready();
    },
    needs,
  ),
];
