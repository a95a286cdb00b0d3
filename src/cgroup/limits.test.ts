import assert from "node:assert/strict";
import { test } from "node:test";
import { cgroupLimits } from "./limits.ts";

const reader = (files: Record<string, string>) => async (file: string) => files[file];

test("the limits of v1, and none", async () => {
  const cpu = reader({ "cpu.cfs_period_us": "100000\n", "cpu.cfs_quota_us": "20000\n", "cpu.shares": "102\n" });
  const memory = reader({
    "memory.limit_in_bytes": "67108864\n",
    "memory.memsw.limit_in_bytes": "67108864\n",
    "memory.soft_limit_in_bytes": "9223372036854771712\n",
  });
  assert.deepEqual(await cgroupLimits[1](cpu, memory), {
    cpuPeriod: 100_000n,
    cpuQuota: 20_000n,
    cpuShares: 102n,
    memory: 67_108_864n,
    memoryAndSwap: 67_108_864n,
    memoryReservation: 0n,
  });
  const free = await cgroupLimits[1](reader({ "cpu.cfs_quota_us": "-1\n" }), reader({}));
  assert.deepEqual([free.cpuQuota, free.memory], [0n, 0n]);
});

test("the limits of v2, and none", async () => {
  const cpu = reader({ "cpu.max": "50000 100000\n", "cpu.weight": "20\n" });
  const memory = reader({ "memory.max": "67108864\n", "memory.swap.max": "0\n", "memory.min": "4096\n" });
  assert.deepEqual(await cgroupLimits[2](cpu, memory), {
    cpuPeriod: 100_000n,
    cpuQuota: 50_000n,
    cpuShares: 500n,
    memory: 67_108_864n,
    memoryAndSwap: 0n,
    memoryReservation: 4096n,
  });
  const free = await cgroupLimits[2](reader({ "cpu.max": "max 100000\n" }), reader({ "memory.max": "max\n" }));
  assert.deepEqual([free.cpuQuota, free.cpuPeriod, free.memory], [0n, 100_000n, 0n]);
});
