import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { silentLogger } from "../base/log.ts";
import { readMountinfo } from "../linux/mountinfo.ts";
import { Cgroups } from "./cgroups.ts";
import { findLayout, hierarchies } from "./layout.ts";

const cgroups = new Cgroups({ log: silentLogger() });
const parent = `/crid-cgroup-test-${randomBytes(4).toString("hex")}`;
const trees = hierarchies(findLayout(await readMountinfo(), () => []))
  .map(({ hierarchy }) => hierarchy.mountPoint)
  .filter((mountPoint) => !existsSync(join(mountPoint, "cpuset.cpus")));

/** Runs a shell script in a new cgroup below the test's own, in every hierarchy. */
async function runIn(name: string, script: string, files: Record<string, string> = {}): Promise<{ path: string; child: ChildProcess }> {
  const path = `${parent}/${name}`;
  const child = spawn("sh", ["-c", `read go; ${script}`], { stdio: ["pipe", "pipe", "inherit"] });
  for (const tree of trees) {
    await mkdir(join(tree, path), { recursive: true });
    for (const [file, text] of Object.entries(files)) {
      if (existsSync(join(tree, path, file))) await writeFile(join(tree, path, file), text);
    }
    await writeFile(join(tree, path, "cgroup.procs"), String(child.pid));
  }
  child.stdin?.end("go\n");
  return { path, child };
}

describe("real cgroups", { skip: cgroups.version === 1 ? false : "writes v1 limits" }, () => {
  after(async () => {
    await cgroups.killAll(parent);
    await cgroups.remove(parent);
    for (const tree of trees) assert.equal(existsSync(join(tree, parent)), false);
  });

  test("a process is found in its cgroup, measured, killed, and the cgroup removed", async () => {
    const { path, child } = await runIn(
      "busy",
      "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 100 & sleep 100 & echo done; wait",
      {
        "pids.max": "50",
      },
    );
    await once(child.stdout ?? child, "data");
    const of = await cgroups.cgroupPaths(child.pid ?? 0);
    assert.equal(of.v1.get("memory"), path);
    const pids = await cgroups.pids(path);
    assert.equal(pids.length, 3);
    assert.ok(pids.includes(child.pid ?? 0));
    for (const target of [path, of]) {
      const stats = await cgroups.readStats(target);
      assert.ok((stats.cpu?.usageNanos ?? 0n) > 1_000_000n, `cpu ${stats.cpu?.usageNanos}`);
      assert.ok((stats.memory?.usage ?? 0n) > 100_000n);
      assert.ok((stats.memory?.workingSet ?? 0n) <= (stats.memory?.usage ?? 0n));
      assert.equal(stats.memory?.limit, undefined);
      assert.deepEqual(stats.pids, { current: 3n, limit: 50n });
      assert.ok(stats.io !== undefined);
    }
    assert.equal(await cgroups.exists(path), true);
    await cgroups.killAll(path);
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    assert.equal(child.signalCode, "SIGKILL");
    await cgroups.remove(path);
    assert.equal(await cgroups.exists(path), false);
    await cgroups.remove(path);
    await cgroups.killAll(path);
    assert.deepEqual(await cgroups.pids(path), []);
    await assert.rejects(cgroups.readStats(path), { kind: "not-found" });
  });

  test("kills for lack of memory are counted, limits checked", async () => {
    const limit = 16 << 20;
    const { path, child } = await runIn("oom", "x=$(head -c 64000000 /dev/zero | tr '\\0' x); sleep 100", {
      "memory.limit_in_bytes": String(limit),
    });
    await once(child, "exit");
    assert.ok((await cgroups.oomKills(path)) >= 1);
    const { memory } = await cgroups.readStats(path);
    assert.equal(memory?.limit, BigInt(limit));
    assert.ok((memory?.available ?? 0n) > 0n);
    await cgroups.checkMemoryLimit(path, BigInt(limit));
    await cgroups.killAll(path);
  });

  test("the daemon's own cgroup is never emptied", async () => {
    const own = await cgroups.cgroupPaths("self");
    assert.match(await readFile("/proc/self/cgroup", "utf8"), new RegExp(`memory:${own.v1.get("memory")}`));
    await assert.rejects(cgroups.killAll(own), { kind: "invalid-argument" });
    await assert.rejects(cgroups.cgroupPaths(2 ** 30), { kind: "not-found" });
  });
});
