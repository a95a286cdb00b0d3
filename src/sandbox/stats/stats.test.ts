import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { test } from "node:test";
import { silentLogger } from "../../base/log.ts";
import type { CgroupStats } from "../../cgroup/stats.ts";
import { blockDeviceName } from "./block-device.ts";
import { CpuRate } from "./cpu-rate.ts";
import { DiskSamples } from "./disk-samples.ts";
import { parseNetDev } from "./net-dev.ts";
import { sumOf } from "./pod-cgroup.ts";

const second = 1_000_000_000n;

test("the rate is that between two readings, and needs a second between them", () => {
  const rates = new CpuRate();
  const thing = {};
  assert.equal(rates.observe(thing, 10n * second, 5n * second), undefined);
  assert.equal(rates.observe(thing, 10n * second + 5n, 6n * second), undefined, "too soon");
  assert.equal(rates.observe(thing, 20n * second, 10n * second), second / 2n);
  assert.equal(rates.observe(thing, 20n * second + 5n, 11n * second), second / 2n, "the last one stands");
  assert.equal(rates.observe(thing, 30n * second, 0n), undefined, "it began anew");
  assert.equal(rates.observe({}, 30n * second, 1n), undefined, "another thing");
});

test("block devices are named by their file, unknown ones by their number", async () => {
  const [known] = await readdir("/sys/dev/block");
  if (known !== undefined) assert.match(await blockDeviceName(known), /^\/dev\/\S+$/);
  assert.equal(await blockDeviceName("0:99999"), "0:99999");
});

test("/proc/net/dev", () => {
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:18446744073709551615       2    3    4    0     0          0         0      5       6    7    8    0     0       0          0
`;
  assert.deepEqual(parseNetDev(text), [
    {
      name: "eth0",
      rx: { bytes: 2n ** 64n - 1n, packets: 2n, errors: 3n, dropped: 4n },
      tx: { bytes: 5n, packets: 6n, errors: 7n, dropped: 8n },
    },
  ]);
  assert.deepEqual(parseNetDev("nonsense\n"), []);
});

test("sums leave limits out", () => {
  const stats = (usage: bigint): CgroupStats => ({
    at: usage,
    cpu: {
      usageNanos: usage,
      userNanos: 1n,
      systemNanos: 0n,
      periods: 0n,
      throttledPeriods: 0n,
      throttledNanos: 0n,
      burstPeriods: 0n,
      burstNanos: 0n,
    },
    memory: { usage, workingSet: usage, rss: 1n, pageFaults: 0n, majorPageFaults: 0n, limit: 5n, available: 1n },
    pids: { current: 2n, limit: 9n },
  });
  const sum = sumOf([stats(1n), undefined, stats(2n), stats(4n)]);
  assert.equal(sum?.at, 4n);
  assert.equal(sum?.cpu?.usageNanos, 7n);
  assert.deepEqual(sum?.memory, { usage: 7n, workingSet: 7n, rss: 3n, pageFaults: 0n, majorPageFaults: 0n });
  assert.deepEqual(sum?.pids, { current: 6n });
  assert.equal(sumOf([undefined]), undefined);
});

test("disk samples: one walk at a time, the first waited for, failures are no answer", async () => {
  let walks = 0;
  const samples = new DiskSamples({
    measure: async (key) => {
      walks++;
      if (key === "broken") throw new Error("gone");
      return { bytes: 10, inodes: 2 };
    },
    log: silentLogger(),
  });
  const [a, b] = await Promise.all([samples.get("x"), samples.get("x")]);
  assert.deepEqual([a?.bytes, b?.inodes, walks], [10, 2, 1]);
  await samples.get("x");
  assert.equal(walks, 1);
  assert.equal(await samples.get("broken"), undefined);
  samples.keep(new Set());
  await samples.get("x");
  assert.equal(walks, 3);
});
