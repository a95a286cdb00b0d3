// Do operators see for crid what they see for containerd? The same pods on a one-node cluster of each, one after the other; what the kubelet serves
// about them is compared by name and label. See hack/stats.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { load } from "js-yaml";
import { Cluster } from "../cluster.ts";
import { repo } from "../machine.ts";
import { idle, nginx, pod, shell } from "../objects.ts";
import type { RuntimeName } from "../runtimes.ts";
import { pause } from "../shell.ts";
import { differences, judge, type Shown } from "./compare.ts";
import { explained } from "./explained.ts";

const { values } = parseArgs({
  options: {
    /** Keeps what the runtimes showed here, and takes what is there already instead of a new cluster. */
    samples: { type: "string" },
    /** Only takes a new sample of this runtime. */
    fresh: { type: "string" },
  },
});
const namespace = "stats";
/** The kubelet's housekeeping of cgroups is every 10 to 15 s, and rates need two. */
const settleMs = 45_000;

const containerd = await shown("containerd", {});
const crid = await shown("crid", shippedGates());
const { byReason, unexplained, unused } = judge(differences(containerd, crid), explained);
for (const [reason, lines] of byReason) say(`${lines.length} differences: ${reason}`);
for (const reason of unused) say(`explains nothing any more: ${reason}`);
for (const line of unexplained) say(`not explained: ${line}`);
say(`${unexplained.length + unused.length === 0 ? 1 : 0} passed, ${unexplained.length + unused.length === 0 ? 0 : 1} failed`);
process.exit(unexplained.length + unused.length === 0 ? 0 : 1);

/** The feature gates of the kubeadm configuration that crid's release brings. */
function shippedGates(): Record<string, boolean> {
  const text = readFileSync(join(repo, "deploy/root/usr/share/crid/kubeadm/init.yaml"), "utf8");
  const documents = text.split(/^---$/m).map((document) => load(document) as { kind: string; featureGates?: Record<string, boolean> });
  return documents.find(({ kind }) => kind === "KubeletConfiguration")?.featureGates ?? {};
}

async function shown(runtime: RuntimeName, featureGates: Record<string, boolean>): Promise<Shown> {
  const file = values.samples === undefined ? undefined : join(values.samples, `${runtime}.json`);
  if (file !== undefined && existsSync(file) && values.fresh !== runtime) return JSON.parse(readFileSync(file, "utf8")) as Shown;
  say(`cluster: one node on ${runtime}, feature gates ${JSON.stringify(featureGates)}`);
  const cluster = await Cluster.boot({ runtime, nodes: 1, featureGates, say });
  const end = (): void => void cluster.down().finally(() => process.exit(130));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, end);
  try {
    await cluster.up();
    await workload(cluster);
    await pause(settleMs);
    const get = (path: string): Promise<string> => cluster.kubectl.run(["get", "--raw", `/api/v1/nodes/node1/proxy${path}`]);
    const sample: Shown = {
      cadvisor: await get("/metrics/cadvisor"),
      resource: await get("/metrics/resource"),
      summary: await get("/stats/summary"),
    };
    if (file !== undefined) {
      mkdirSync(join(file, ".."), { recursive: true });
      writeFileSync(file, JSON.stringify(sample, null, 2));
    }
    return sample;
  } finally {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.off(signal, end);
    for (const path of await cluster.down()) say(`left behind: ${path}`);
  }
}

/** Pods that use all that is counted: limits and none, one container and two, the pod's network and the host's, a volume, files, traffic. */
async function workload(cluster: Cluster): Promise<void> {
  const { kubectl } = cluster;
  await kubectl.run(["create", "namespace", namespace]);
  await kubectl.run(["wait", "--for=create", "serviceaccount/default", "-n", namespace, "--timeout=60s"]);
  const limits = { resources: { limits: { cpu: "200m", memory: "64Mi" }, requests: { cpu: "100m", memory: "32Mi" } } };
  const busy =
    "dd if=/dev/zero of=/written bs=1M count=4; sync; cat /written >/dev/null; while :; do i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; sleep 1; done";
  const objects = [
    pod("limited", { containers: [shell(busy, limits), idle({ name: "beside", ...limits })] }),
    pod("free", { containers: [shell(busy)] }),
    pod("host", { hostNetwork: true, containers: [idle()] }),
    pod("volume", {
      volumes: [{ name: "data", emptyDir: {} }],
      containers: [shell(busy, { volumeMounts: [{ name: "data", mountPath: "/data" }] })],
    }),
    pod("web", {
      containers: [
        {
          name: "main",
          image: nginx,
          imagePullPolicy: "IfNotPresent",
          readinessProbe: { httpGet: { path: "/", port: 80 }, periodSeconds: 1 },
        },
      ],
    }),
  ];
  await kubectl.apply(...objects.map((object) => ({ ...object, metadata: { ...(object as { metadata: object }).metadata, namespace } })));
  await kubectl.run(["wait", "--for=condition=Ready", "pod", "--all", "-n", namespace, "--timeout=180s"]);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
