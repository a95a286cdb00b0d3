import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "../base/log.ts";
import { type MountEntry, parseMountinfo } from "../linux/mountinfo.ts";
import { Cgroups } from "./cgroups.ts";
import { directoryOf, findLayout, hierarchies, hierarchyOf } from "./layout.ts";

function mounts(...lines: string[]): MountEntry[] {
  return parseMountinfo(lines.map((line, index) => `${30 + index} 20 0:${index} ${line}\n`).join(""));
}

const v1 = [
  "/ /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
  "/ /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
  "/ /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd",
];

test("v1, v2 and hybrid mounts are told apart", () => {
  const pure = findLayout(mounts("/ /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate"), () => ["cpu", "memory"]);
  assert.equal(pure.version, 2);
  assert.equal(hierarchyOf(pure, "memory")?.mountPoint, "/sys/fs/cgroup");
  assert.equal(hierarchyOf(pure, "hugetlb"), undefined);

  const hybrid = findLayout(mounts(...v1, "/ /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"), () => ["hugetlb"]);
  assert.equal(hybrid.version, 1);
  assert.equal(hierarchyOf(hybrid, "cpuacct")?.mountPoint, "/sys/fs/cgroup/cpu,cpuacct");
  assert.equal(hierarchyOf(hybrid, "hugetlb")?.version, 2);
  assert.deepEqual(
    hierarchies(hybrid).map(({ controllers }) => controllers.join()),
    ["hugetlb", "cpu,cpuacct", "memory", "name=systemd"],
  );
});

test("a mount that shows a part of the tree is accounted for", () => {
  const hierarchy = { version: 1, mountPoint: "/sys/fs/cgroup/memory", root: "/docker/1" } as const;
  assert.equal(directoryOf(hierarchy, "/docker/1/crid/a"), "/sys/fs/cgroup/memory/crid/a");
  assert.equal(directoryOf(hierarchy, "/docker/12"), "/sys/fs/cgroup/memory/docker/12");
});

test("stats of a v2 tree, and what is not there", async () => {
  const dir = await mkdtemp(join(tmpdir(), "crid-cgroup-"));
  try {
    await writeFile(join(dir, "cgroup.controllers"), "cpu io memory pids\n");
    await mkdir(join(dir, "pod/a"), { recursive: true });
    const files = {
      "cpu.stat": "usage_usec 5\n",
      "memory.current": "100\n",
      "memory.max": "max\n",
      "memory.stat": "anon 40\n",
      "pids.current": "3\n",
      "pids.max": "max\n",
      "memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=9\n",
    };
    for (const [name, text] of Object.entries(files)) await writeFile(join(dir, "pod/a", name), text);
    const cgroups = new Cgroups({ log: silentLogger(), mounts: mounts(`/ ${dir} rw - cgroup2 cgroup2 rw`) });
    assert.equal(cgroups.version, 2);
    const stats = await cgroups.readStats("/pod/a");
    assert.equal(stats.cpu?.usageNanos, 5000n);
    assert.deepEqual(stats.memory, { usage: 100n, workingSet: 100n, rss: 40n, pageFaults: 0n, majorPageFaults: 0n });
    assert.deepEqual(stats.pids, { current: 3n });
    assert.equal(stats.psi?.memory?.some.totalMicros, 9n);
    assert.equal(stats.io, undefined);
    assert.deepEqual((await cgroups.readStats({ v1: new Map(), v2: "/pod/a" })).pids, { current: 3n });
    await assert.rejects(cgroups.readStats("/pod/b"), { kind: "not-found", message: /\/pod\/b/ });
    assert.equal(await cgroups.oomKills("/pod/b"), 0);
    assert.deepEqual([await cgroups.exists("/pod/a"), await cgroups.exists("/pod/b")], [true, false]);
    assert.deepEqual([await cgroups.children("/pod"), await cgroups.children("/pod/b")], [["a"], []]);
    await assert.rejects(cgroups.checkMemoryLimit("/pod/a", 99n), { kind: "failed-precondition" });
    await cgroups.checkMemoryLimit("/pod/a", 100n);
    await assert.rejects(cgroups.remove("/"), { kind: "invalid-argument" });
    await assert.rejects(cgroups.killAll("/"), { kind: "invalid-argument" });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
