import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { runtime } from "../../api/cri/runtime/v1/api.js";
import { FeatureBed, type FeaturePod } from "./support/features.ts";
import { TestNode } from "./support/node.ts";
import { busybox } from "./support/pods.ts";

const mib = (count: number): bigint => BigInt(count) << 20n;
const limit = mib(128);

/*
 * Writes 12 MiB in 3 files, holds 20 MiB of memory (a shared one, in /dev/shm), and then uses a fifth of a CPU for a bounded time.
 */
const load = `
  for i in 1 2 3; do head -c 4194304 /dev/zero > /file-$i; done
  head -c 20971520 /dev/zero > /dev/shm/held
  ping -c 3 -i 1 -s 1000 "$GATEWAY" > /dev/null
  echo loaded
  end=$(($(date +%s) + 40))
  while [ $(date +%s) -lt $end ]; do i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; done`;

let node: TestNode;
let bed: FeatureBed;
let pod: FeaturePod;
let containerId: string;

before(async () => {
  // A subnet of its own: bridges of the files before are still there, and would get the answers to the pings.
  const ipam = { type: "host-local", dataDir: "/run/e2e-stats", ranges: [[{ subnet: "10.64.0.0/24" }]], routes: [{ dst: "0.0.0.0/0" }] };
  const plugins = [{ type: "bridge", bridge: "e2estats", isGateway: true, ipam }];
  node = new TestNode({ conflist: { cniVersion: "1.0.0", name: "stats", plugins } });
  await node.start();
  await node.crictl("pull", busybox);
  bed = new FeatureBed(node);
  pod = await bed.pod();
  containerId = await bed.start(pod, {
    script: load,
    container: { envs: [{ key: "GATEWAY", value: Buffer.from("10.64.0.1") }], labels: { app: "loaded" } },
    resources: { cpuQuota: 20_000n, cpuPeriod: 100_000n, memoryLimitInBytes: limit, memorySwapLimitInBytes: limit },
  });
  const path = (await bed.cri.containerStatus({ containerId })).status?.logPath ?? "";
  for (let i = 0; i < 400 && !readFileSync(path, "utf8").includes("loaded"); i++) await sleep(50);
  assert.match(readFileSync(path, "utf8"), /loaded/);
});

after(async () => {
  bed[Symbol.dispose]();
  await node.close();
});

/** Asks, with the file read before and after: the answer lies between. `slack` is for what the kernel adds up late. */
async function between(file: () => Promise<string>, ask: () => Promise<bigint>, slack = 0n): Promise<void> {
  const [before, value, after] = [BigInt(await file()), await ask(), BigInt(await file())];
  const [low, high] = before < after ? [before, after] : [after, before];
  assert.ok(value >= low - slack && value <= high + slack, `${low} <= ${value} <= ${high}`);
}

async function stats(): Promise<runtime.v1.ContainerStats> {
  const { stats } = await bed.cri.containerStats({ containerId });
  assert.ok(stats !== null && stats !== undefined);
  return stats;
}

/** A key of memory.stat: v1 has it for the cgroup and those below as total_KEY. */
async function memoryStat(v1: string, v2: string): Promise<string> {
  const text = await bed.cgroupFile(containerId, "memory", "memory.stat");
  return new RegExp(`^(?:total_${v1}|${v2}) (\\d+)$`, "m").exec(text)?.[1] ?? assert.fail(text);
}

test("a container's numbers are those of its cgroup", async () => {
  const cpu = async (): Promise<string> => {
    const text = await bed.cgroupFile(containerId, "cpuacct", "cpuacct.usage", "cpu.stat");
    const micros = /usage_usec (\d+)/.exec(text)?.[1];
    return micros === undefined ? text : `${micros}000`;
  };
  await between(cpu, async () => (await stats()).cpu?.usageCoreNanoSeconds?.value ?? 0n);
  await between(
    () => bed.cgroupFile(containerId, "memory", "memory.usage_in_bytes", "memory.current"),
    async () => (await stats()).memory?.usageBytes?.value ?? 0n,
    mib(1),
  );
  await between(
    () => memoryStat("rss", "anon"),
    async () => (await stats()).memory?.rssBytes?.value ?? 0n,
    mib(1),
  );
  await between(
    () => memoryStat("pgfault", "pgfault"),
    async () => (await stats()).memory?.pageFaults?.value ?? 0n,
    1000n,
  );

  const { memory, swap, writableLayer, attributes } = await stats();
  const inactive = BigInt(await memoryStat("inactive_file", "inactive_file"));
  const usage = memory?.usageBytes?.value ?? 0n;
  const workingSet = memory?.workingSetBytes?.value ?? 0n;
  assert.ok(usage > mib(30) && usage < mib(60), `${usage}: 20 MiB held, 12 MiB of file cache, and little more`);
  assert.ok(workingSet > mib(20) && usage - workingSet - inactive < mib(1), `${usage} - ${workingSet}: ${inactive}`);
  assert.equal(memory?.availableBytes?.value, limit - workingSet);
  assert.ok((swap?.swapUsageBytes?.value ?? 0n) <= mib(1));
  assert.ok(
    (writableLayer?.usedBytes?.value ?? 0n) >= mib(12) && (writableLayer?.usedBytes?.value ?? 0n) < mib(13),
    String(writableLayer?.usedBytes?.value),
  );
  assert.ok((writableLayer?.inodesUsed?.value ?? 0n) >= 3n && (writableLayer?.inodesUsed?.value ?? 0n) < 12n);
  assert.equal(writableLayer?.fsId?.mountpoint, join(node.directory, "root/snapshots"));
  assert.equal(attributes?.labels.app, "loaded");
});

test("usageNanoCores is the rate between two questions", async () => {
  const first = await stats();
  await sleep(1200);
  const second = await stats();
  const nanos = (second.cpu?.timestamp ?? 0n) - (first.cpu?.timestamp ?? 0n);
  const used = (second.cpu?.usageCoreNanoSeconds?.value ?? 0n) - (first.cpu?.usageCoreNanoSeconds?.value ?? 0n);
  const rate = second.cpu?.usageNanoCores?.value ?? 0n;
  // The first question may have come too soon after another one to begin a window of its own.
  const expected = (used * 1_000_000_000n) / nanos;
  assert.ok(rate > expected / 2n && rate < expected * 2n, `${rate}, ${expected} expected`);
  assert.ok(rate > 1_000_000n && rate < 300_000_000n, `${rate}: a fifth of a CPU, or less where others want it`);
});

test("the pod's numbers: network as its namespace counts, containers as each is asked, lists with filters", async () => {
  const { pid } = await bed.inspect(containerId);
  const device = (): bigint[] =>
    (/^\s*eth0:(.*)$/m.exec(readFileSync(`/proc/${pid}/net/dev`, "utf8"))?.[1] ?? "").trim().split(/\s+/).map(BigInt);
  const before = device();
  const { stats: pod1 } = await bed.cri.podSandboxStats({ podSandboxId: pod.id });
  const after = device();
  const eth0 = pod1?.linux?.network?.defaultInterface;
  assert.equal(eth0?.name, "eth0");
  for (const [at, value] of [
    [0, eth0?.rxBytes?.value],
    [8, eth0?.txBytes?.value],
  ] as const) {
    assert.ok((value ?? 0n) >= (before[at] ?? 0n) && (value ?? 0n) <= (after[at] ?? 0n), `${before[at]} <= ${value} <= ${after[at]}`);
    assert.ok((value ?? 0n) > 3000n, "3 pings of 1000 bytes");
  }
  assert.deepEqual(
    pod1?.linux?.containers.map(({ attributes }) => attributes?.id),
    [containerId],
  );
  const own = (await stats()).cpu?.usageCoreNanoSeconds?.value ?? 0n;
  assert.ok(
    (pod1?.linux?.cpu?.usageCoreNanoSeconds?.value ?? 0n) > 0n &&
      (pod1?.linux?.containers[0]?.cpu?.usageCoreNanoSeconds?.value ?? 0n) <= own,
  );
  assert.ok((pod1?.linux?.process?.processCount?.value ?? 0n) >= 2n, "the pause and the shell");

  const { stats: all } = await bed.cri.listContainerStats({ filter: { labelSelector: { app: "loaded" } } });
  assert.deepEqual(
    all.map(({ attributes }) => attributes?.id),
    [containerId],
  );
  assert.deepEqual((await bed.cri.listContainerStats({ filter: { labelSelector: { app: "other" } } })).stats, []);
  const { stats: pods } = await bed.cri.listPodSandboxStats({ filter: { id: pod.id } });
  assert.deepEqual(
    pods.map(({ attributes }) => attributes?.id),
    [pod.id],
  );
});

test("pressure is there where the kernel counts it by cgroup", async () => {
  const { cpu, memory, io } = await stats();
  const { pid } = await bed.inspect(containerId);
  const path = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1] ?? "/none";
  const root = readdirSync("/sys/fs/cgroup").includes("unified") ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
  const file = (name: string): string | undefined => {
    try {
      return readFileSync(join(root, path, name), "utf8");
    } catch {
      return undefined;
    }
  };
  for (const [psi, text] of [
    [cpu?.psi, file("cpu.pressure")],
    [memory?.psi, file("memory.pressure")],
    [io?.psi, file("io.pressure")],
  ] as const) {
    const total = /^some .* total=(\d+)$/m.exec(text ?? "")?.[1];
    assert.equal(psi !== null && psi !== undefined, total !== undefined, `${root}${path}`);
    if (total !== undefined) assert.ok((psi?.Some?.Total ?? 0n) <= BigInt(total) * 1000n);
  }
});

test("metrics: as they are described, and with the cgroup's values", async () => {
  const { descriptors } = await bed.cri.listMetricDescriptors({});
  const described = new Map(descriptors.map(({ name, labelKeys }) => [name, labelKeys]));
  const { podMetrics } = await bed.cri.listPodSandboxMetrics({});
  const [ours] = podMetrics;
  assert.equal(podMetrics.length, 1);
  const [metrics] = ours?.containerMetrics ?? [];
  assert.equal(metrics?.containerId, containerId);
  const every = [...(ours?.metrics ?? []), ...(metrics?.metrics ?? [])];
  for (const { name, labelValues } of every) assert.equal(labelValues.length, described.get(name)?.length, name);
  const value = (name: string): bigint => metrics?.metrics.find((one) => one.name === name)?.value?.value ?? assert.fail(name);
  const reading = await stats();
  const near = (name: string, expected: bigint | undefined, slack: bigint): void =>
    assert.ok(
      value(name) <= (expected ?? 0n) + slack && value(name) >= (expected ?? 0n) - slack,
      `${name}: ${value(name)}, ${expected} expected`,
    );
  near("container_memory_usage_bytes", reading.memory?.usageBytes?.value, mib(2));
  near("container_memory_working_set_bytes", reading.memory?.workingSetBytes?.value, mib(2));
  near("container_cpu_usage_seconds_total", (reading.cpu?.usageCoreNanoSeconds?.value ?? 0n) / 1_000_000_000n, 1n);
  near("container_fs_usage_bytes", reading.writableLayer?.usedBytes?.value, mib(1));
  assert.equal(value("container_spec_memory_limit_bytes"), limit);
  assert.equal(value("container_spec_cpu_quota"), 20_000n);
  assert.equal(value("container_oom_events_total"), 0n);
  const throttled = /^nr_throttled (\d+)$/m.exec(await bed.cgroupFile(containerId, "cpu", "cpu.stat"))?.[1];
  near("container_cpu_cfs_throttled_periods_total", BigInt(throttled ?? -9), 5n);
  assert.ok(value("container_processes") >= 1n);
  const received = ours?.metrics.find(({ name }) => name === "container_network_receive_bytes_total");
  assert.ok((received?.value?.value ?? 0n) > 3000n);
});
