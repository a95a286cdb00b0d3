import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseBlkio, parseFlatKeyed, parseNestedKeyed, parseNumber, parsePressure } from "./parse.ts";
import { statsV1 } from "./stats-v1.ts";
import { statsV2 } from "./stats-v2.ts";

const files = (contents: Record<string, string>) => async (file: string) => contents[file];

test("numbers", () => {
  assert.equal(parseNumber("9223372036854771712\n"), 9223372036854771712n);
  assert.equal(parseNumber("max\n"), undefined);
  assert.equal(parseNumber(undefined), undefined);
});

test("any text is parsed", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      parseNumber(text);
      parseFlatKeyed(text);
      parseNestedKeyed(text);
      parseBlkio(text);
      parsePressure(text);
    }),
  );
});

test("pressure", () => {
  const some = "some avg10=55.73 avg60=45.23 avg300=37.56 total=471731784\n";
  assert.deepEqual(parsePressure(some), { some: { avg10: 55.73, avg60: 45.23, avg300: 37.56, totalMicros: 471731784n } });
  assert.equal(parsePressure(`${some}full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n`)?.full?.totalMicros, 7n);
  assert.equal(parsePressure(undefined), undefined);
});

test("v2 files", async () => {
  const read = files({
    "cpu.stat":
      "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnice_usec 0\nnr_periods 10\nnr_throttled 4\nthrottled_usec 70\nnr_bursts 0\nburst_usec 0\n",
    "memory.current": "1000\n",
    "memory.max": "3000\n",
    "memory.stat": "anon 400\nfile 600\ninactive_file 250\npgfault 9\npgmajfault 2\n",
    "memory.swap.current": "5\n",
    "memory.swap.max": "max\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n7:0 \n",
    "hugetlb.2MB.current": "4194304\n",
    "hugetlb.2MB.max": "max\n",
  });
  assert.deepEqual(await statsV2.cpu(read), {
    usageNanos: 1_500_000n,
    userNanos: 1_000_000n,
    systemNanos: 500_000n,
    periods: 10n,
    throttledPeriods: 4n,
    throttledNanos: 70_000n,
    burstPeriods: 0n,
    burstNanos: 0n,
  });
  assert.deepEqual(await statsV2.memory(read), {
    usage: 1000n,
    workingSet: 750n,
    rss: 400n,
    pageFaults: 9n,
    majorPageFaults: 2n,
    limit: 3000n,
    available: 2250n,
    swapUsage: 5n,
  });
  assert.deepEqual(await statsV2.io(read), [
    { device: "8:0", readBytes: 10n, writeBytes: 20n, reads: 1n, writes: 2n },
    { device: "7:0", readBytes: 0n, writeBytes: 0n, reads: 0n, writes: 0n },
  ]);
  assert.deepEqual(await statsV2.hugetlb(read, "2MB"), { pageSize: "2MB", usage: 4194304n });
  assert.equal(await statsV2.hugetlb(read, "1GB"), undefined);
  assert.equal(await statsV2.oomKills(read), 1);
});

test("v1 files", async () => {
  const read = files({
    "cpuacct.usage": "1500000\n",
    "cpuacct.usage_user": "1000000\n",
    "cpuacct.usage_sys": "500000\n",
    "cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 70000\n",
    "memory.usage_in_bytes": "1000\n",
    "memory.limit_in_bytes": "3000\n",
    "memory.memsw.usage_in_bytes": "1005\n",
    "memory.memsw.limit_in_bytes": "9223372036854771712\n",
    "memory.stat": "rss 1\ntotal_rss 400\ntotal_inactive_file 2000\ntotal_pgfault 9\ntotal_pgmajfault 2\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 20\n8:0 Sync 30\n8:0 Total 30\nTotal 30\n",
    "blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\nTotal 3\n",
  });
  assert.equal((await statsV1.cpu(read))?.throttledNanos, 70_000n);
  assert.deepEqual(await statsV1.memory(read), {
    usage: 1000n,
    // The cache was counted after the usage: never below zero.
    workingSet: 0n,
    rss: 400n,
    pageFaults: 9n,
    majorPageFaults: 2n,
    limit: 3000n,
    available: 3000n,
    swapUsage: 5n,
  });
  assert.deepEqual(await statsV1.io(read), [{ device: "8:0", readBytes: 10n, writeBytes: 20n, reads: 1n, writes: 2n }]);
  assert.equal(await statsV1.oomKills(read), 1);
  assert.equal(await statsV1.memory(files({})), undefined);
});
