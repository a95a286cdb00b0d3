import { Cluster } from "./cluster.ts";
import type { ClusterNode } from "./node.ts";
import { agnhost, deployment, idle, shell } from "./objects.ts";
import type { RuntimeName } from "./runtimes.ts";
import { pause, until } from "./shell.ts";

export interface CompareOptions {
  /** Clusters of each runtime for the medians. */
  rounds: number;
  /** How long the two are watched side by side; 0 = not at all. */
  steadySeconds: number;
  say: (line: string) => void;
  /** The clusters that there are at the moment, for who has to end them early. */
  running: Set<Cluster>;
}

/** A number of each runtime, and the most that crid's may be of containerd's. */
export interface Figure {
  name: string;
  unit: "s" | "ms" | "MiB";
  crid: number;
  containerd: number;
  ratio: number;
  limit?: number;
}

const both: readonly RuntimeName[] = ["crid", "containerd"];
const pauseImage = "registry.k8s.io/pause:3.10.2";

/**
 * Measures crid against containerd on clusters of one node that are made one after the other, in alternation: kubeadm init until
 * kube-system is ready, 60 pods created at once until all are Running. Then one cluster of each, at the same time, with the same 30 pods in
 * steady state: their CPU time does not depend on what else the machine does, and what disturbs one disturbs both.
 */
export async function compare(options: CompareOptions): Promise<Figure[]> {
  const { rounds, steadySeconds, say } = options;
  const times: Record<RuntimeName, { up: number[]; many: number[] }> = { crid: { up: [], many: [] }, containerd: { up: [], many: [] } };
  for (let round = 0; round < rounds; round++) {
    for (const runtime of round % 2 === 0 ? both : both.toReversed()) {
      const { up, many } = await oneCluster(runtime, options.running);
      times[runtime].up.push(up);
      times[runtime].many.push(many);
      say(`round ${round + 1} ${runtime}: kube-system ready after ${up.toFixed(1)} s, 60 pods Running after ${many.toFixed(1)} s`);
    }
  }
  const of = (name: string, pick: (runtime: RuntimeName) => number[]): Figure =>
    figure(name, "s", median(pick("crid")), median(pick("containerd")), 1);
  const figures =
    rounds === 0
      ? []
      : [
          of("kubeadm init until kube-system is ready", (runtime) => times[runtime].up),
          of("60 pods created at once until all are Running", (runtime) => times[runtime].many),
        ];
  return steadySeconds === 0 ? figures : [...figures, ...(await steady(options))];
}

async function oneCluster(runtime: RuntimeName, running: Set<Cluster>): Promise<{ up: number; many: number }> {
  const cluster = await Cluster.boot({ runtime, nodes: 1, say: () => {} });
  running.add(cluster);
  try {
    const up = await seconds(() => cluster.up());
    await cluster.control.run(["crictl", "pull", pauseImage]);
    const containers = [{ name: "main", image: pauseImage }];
    const many = await seconds(async () => {
      await cluster.kubectl.apply(deployment("many", 60, { containers }));
      await replicas(cluster, "many", 60);
    });
    return { up, many };
  } finally {
    running.delete(cluster);
    await cluster.down();
  }
}

async function replicas(cluster: Cluster, name: string, count: number): Promise<void> {
  await until(`${count} pods of ${name}`, 300_000, async () =>
    (await cluster.kubectl.get("deployment", name, "default")).status?.readyReplicas === count ? true : undefined,
  );
}

/** 30 pods as they stand on a node: most do nothing, some are probed, some log. */
const workload: readonly object[] = [
  deployment("still", 15, { containers: [{ name: "main", image: pauseImage }] }),
  deployment("execs", 5, { containers: [idle({ readinessProbe: { exec: { command: ["true"] }, periodSeconds: 10 } })] }),
  deployment("serves", 5, {
    containers: [{ name: "main", image: agnhost, args: ["netexec"], readinessProbe: { httpGet: { path: "/healthz", port: 8080 } } }],
  }),
  deployment("logs", 5, { containers: [shell("while :; do echo a line of a log; sleep 1; done")] }),
];

interface Sample {
  /** CPU time of the runtime's own processes so far, with that of children that they have waited for. */
  cpuMs: number;
  /** Their resident memory. */
  rssMiB: number;
}

async function steady({ steadySeconds: forSeconds, say, running }: CompareOptions): Promise<Figure[]> {
  const clusters: Cluster[] = [];
  try {
    for (const runtime of both) clusters.push(await Cluster.boot({ runtime, nodes: 1, say: () => {} }));
    for (const cluster of clusters) running.add(cluster);
    await Promise.all(
      clusters.map(async (cluster) => {
        await cluster.up();
        await cluster.kubectl.apply(...workload);
        for (const [name, count] of [
          ["still", 15],
          ["execs", 5],
          ["serves", 5],
          ["logs", 5],
        ] as const)
          await replicas(cluster, name, count);
      }),
    );
    say(`30 pods on each of two clusters; watched for ${forSeconds} s`);
    // What a start leaves behind has settled.
    await pause(20_000);
    const series: Sample[][] = clusters.map(() => []);
    const steps = Math.max(6, Math.floor(forSeconds / 10));
    for (let step = 0; step <= steps; step++) {
      if (step > 0) await pause((forSeconds * 1000) / steps);
      const now = await Promise.all(clusters.map((cluster) => sample(cluster.control, cluster.runtime)));
      for (const [index, each] of now.entries()) series[index]?.push(each);
    }
    const [crid = [], containerd = []] = series;
    const cpu = (samples: Sample[]): number => (samples.at(-1)?.cpuMs ?? 0) - (samples[0]?.cpuMs ?? 0);
    const rss = (samples: Sample[]): number[] => samples.map(({ rssMiB }) => rssMiB);
    const third = Math.ceil(steps / 3);
    const growth = (samples: Sample[]): [number, number] => [median(rss(samples).slice(0, third)), median(rss(samples).slice(-third))];
    const [cridFirst, cridLast] = growth(crid);
    const [, containerdLast] = growth(containerd);
    say(`crid's memory: ${cridFirst.toFixed(1)} MiB in the first third, ${cridLast.toFixed(1)} MiB in the last`);
    return [
      figure(`CPU time in ${forSeconds} s with 30 pods`, "ms", cpu(crid), cpu(containerd), 1.5),
      figure("memory at the end (daemon, logger)", "MiB", cridLast, containerdLast),
      // Flat: the last third is no more than a twentieth above the first.
      {
        name: "crid's memory, last third against the first",
        unit: "MiB",
        crid: cridLast,
        containerd: cridFirst,
        ratio: cridLast / cridFirst,
        limit: 1.05,
      },
    ];
  } finally {
    for (const cluster of clusters) {
      running.delete(cluster);
      await cluster.down();
    }
  }
}

/** Of the daemon and, with crid, of its logger; the shims are the same program on both sides. */
async function sample(node: ClusterNode, runtime: RuntimeName): Promise<Sample> {
  const pattern = runtime === "crid" ? "crid.mjs (serve|logger)" : "^containerd( |$)";
  const text = await node.shell(
    `for p in $(pgrep -f '${pattern}'); do sed 's/^.*) //' /proc/$p/stat | cut -d' ' -f12-15; grep VmRSS /proc/$p/status; done`,
  );
  let ticks = 0;
  let kib = 0;
  for (const line of text.trim().split("\n")) {
    const memory = /^VmRSS:\s+(\d+)/.exec(line)?.[1];
    if (memory !== undefined) kib += Number(memory);
    else for (const part of line.split(" ")) ticks += Number(part);
  }
  // proc(5): ticks of sysconf(_SC_CLK_TCK), which is 100 on every architecture here.
  return { cpuMs: ticks * 10, rssMiB: kib / 1024 };
}

function figure(name: string, unit: Figure["unit"], crid: number, containerd: number, limit?: number): Figure {
  return { name, unit, crid, containerd, ratio: crid / containerd, ...(limit === undefined ? {} : { limit }) };
}

/** Prints the figures. Answers how many are beyond their limit. */
export function reportFigures(figures: readonly Figure[], say: (line: string) => void): number {
  let beyond = 0;
  for (const { name, unit, crid, containerd, ratio, limit } of figures) {
    const bad = limit !== undefined && !(ratio <= limit);
    if (bad) beyond++;
    const numbers = `${crid.toFixed(1)} : ${containerd.toFixed(1)} ${unit} = ${ratio.toFixed(2)}`;
    say(`${bad ? "FAIL" : "ok  "}  ${name}: ${numbers}${limit === undefined ? "" : ` (at most ${limit.toFixed(2)})`}`);
  }
  return beyond;
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [low = Number.NaN, high = Number.NaN] = [sorted[middle - 1], sorted[middle]];
  return sorted.length % 2 === 1 ? high : (low + high) / 2;
}
