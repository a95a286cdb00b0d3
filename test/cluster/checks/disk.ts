import assert from "node:assert/strict";
import { isReady, type KubeObject, statusOf } from "../kubectl.ts";
import type { ClusterNode } from "../node.ts";
import { agnhost, pod, shell } from "../objects.ts";
import { alone, type Check, type CheckContext, together } from "../runner.ts";
import { until } from "../shell.ts";

const condition = (node: KubeObject, type: string): string | undefined =>
  node.status?.conditions?.find((each) => each.type === type)?.status;

/** Every line of a container's log files on the node, rotated and compressed ones too, oldest first, without the CRI prefix. */
async function allLines(node: ClusterNode, namespace: string, name: string): Promise<string[]> {
  const folder = (await node.shell(`echo /var/log/pods/${namespace}_${name}_*/main`)).trim();
  const script = `cd ${folder} && for f in $(ls | sort | grep -v '^0.log$') 0.log; do case $f in *.gz) gzip -dc $f;; *) cat $f;; esac; done`;
  return (await node.shell(script))
    .trimEnd()
    .split("\n")
    .map((line) => line.split(" ").slice(3).join(" "));
}

async function pressure({ cluster }: CheckContext, node: ClusterNode, status: string): Promise<void> {
  await until(
    `DiskPressure ${status} on ${node.name}`,
    180_000,
    async () =>
      condition(await cluster.kubectl.json<KubeObject>(["get", "node", node.name]), "DiskPressure") === status ? true : undefined,
    () => node.run(["df", "/var"]),
  );
}

/** Logs, images and disks. */
export const diskChecks: readonly Check[] = [
  together("log rotation by the kubelet: more than one file, no line lost or twice", async ({ cluster, namespace, create }) => {
    const script =
      "for n in 1 2 3 4 5; do seq $((n*6000-5999)) $((n*6000)) | sed 's/$/ xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/'; sleep 4; done";
    await create(pod("p", { restartPolicy: "Never", containers: [shell(script)] }));
    const over = await cluster.kubectl.pod("p", namespace, "over", (object) => object.status?.phase === "Succeeded", 120_000);
    const node = cluster.nodes.find((each) => each.name === over.spec?.nodeName);
    assert.ok(node !== undefined);
    const files = (await node.shell(`ls /var/log/pods/${namespace}_p_*/main`)).trim().split("\n");
    assert.ok(files.length >= 3, `rotated: ${files.join()}`);
    const numbers = (await allLines(node, namespace, "p")).map((line) => Number(line.split(" ")[0]));
    assert.equal(numbers.length, 30_000);
    assert.deepEqual(
      numbers,
      numbers.map((_, index) => index + 1),
    );
  }),

  together("ephemeral storage: a pod over its limit is evicted, with the reason", async ({ cluster, namespace, create }) => {
    const limits = { "ephemeral-storage": "8Mi" };
    await create(
      pod("p", {
        restartPolicy: "Never",
        containers: [shell("dd if=/dev/urandom of=/file bs=1M count=32; exec sleep 1000", { resources: { limits } })],
      }),
    );
    const object = await cluster.kubectl.pod("p", namespace, "Failed", (each) => each.status?.phase === "Failed", 180_000);
    assert.equal(object.status?.reason, "Evicted");
    assert.match(object.status?.message ?? "", /ephemeral/);
  }),

  alone("disk pressure: unused images go, a pod is evicted, and the bytes of both relieve the node", async (context) => {
    const { cluster, namespace } = context;
    const node = cluster.worker;
    const hog = Math.floor(node.diskBytes * 0.1);
    const used = async (): Promise<number> => Number((await node.shell("df --output=used -B1 /var | tail -n1")).trim());
    await context.run(pod("user", { nodeName: node.name, containers: [{ name: "main", image: agnhost, args: ["pause"] }] }));
    await node.run(["crictl", "pull", "docker.io/library/nginx:latest"], { timeoutMs: 60_000 });
    await cluster.kubectl.run(["delete", "pod", "user", "-n", namespace]);
    // It looks for images every five minutes and spares for two what it sees for the first time, but not what was there when it started.
    await node.restartService("kubelet");
    // What takes a tenth of the disk: its eviction alone ends the pressure.
    const script = `fallocate -l ${hog} /v/file; exec sleep 1000`;
    await context.run(
      pod("hog", {
        nodeName: node.name,
        containers: [shell(script, { volumeMounts: [{ name: "v", mountPath: "/v" }] })],
        volumes: [{ name: "v", emptyDir: {} }],
      }),
    );
    await until("the hog's file", 30_000, async () => ((await used()) > hog ? true : undefined));
    const images = async (): Promise<string> => await node.run(["crictl", "images"]);
    assert.match(await images(), /agnhost/);
    const before = await used();
    // Below nodefs.available of 10 %, for which images go first; above imagefs.available of 15 % once the hog has gone, too.
    const free = Number((await node.shell("df --output=avail -B1 /var | tail -n1")).trim());
    const ballast = free - Math.floor(node.diskBytes * 0.07);
    await node.run(["fallocate", "-l", String(ballast), "/var/tmp/ballast"]);
    try {
      await pressure(context, node, "True");
      await until("unused images to go", 120_000, async () => ((await images()).includes("agnhost") ? undefined : true), images);
      const evicted = await cluster.kubectl.pod("hog", namespace, "evicted", (each) => each.status?.phase === "Failed", 180_000);
      assert.equal(evicted.status?.reason, "Evicted");
      await pressure(context, node, "False");
      const after = (await used()) - ballast;
      assert.ok(before - after > hog + 30 * 2 ** 20, `used before ${before}, after ${after}`);
    } finally {
      await node.run(["rm", "-f", "/var/tmp/ballast"]);
      await pressure(context, node, "False");
    }
    // Whatever was evicted is back, and pods start again.
    await cluster.ready(180_000);
    await until("the taint to go", 60_000, async () => {
      const { status } = await cluster.kubectl.try([
        "run",
        "again",
        "-n",
        namespace,
        `--image=${agnhost}`,
        `--overrides=${JSON.stringify({ spec: { nodeName: node.name } })}`,
        "--",
        "pause",
      ]);
      return status === 0 ? true : undefined;
    });
    const again = await cluster.kubectl.pod("again", namespace, "Ready", isReady, 120_000);
    assert.equal(statusOf(again, "again").restartCount, 0);
  }),
];
