import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isKind } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import { MS_BIND, mount } from "../linux/mount.ts";
import { readMountinfo } from "../linux/mountinfo.ts";
import { enterNetnsSync } from "../linux/namespaces.ts";
import { parseNetDev, readInterfaces } from "./interfaces.ts";
import { NetnsDriver } from "./netns.ts";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "crid-netns-"));
});
afterEach(async () => {
  assert.deepEqual(readdirSync(dir), []);
  assert.equal((await readMountinfo()).filter((entry) => entry.mountPoint.startsWith(dir)).length, 0);
  rmSync(dir, { recursive: true });
});

const driver = (poolSize: number): NetnsDriver => new NetnsDriver({ dir, poolSize, log: silentLogger() });
const files = (prefix: string): string[] => readdirSync(dir).filter((name) => name.startsWith(prefix));
const until = async (condition: () => boolean): Promise<void> => {
  for (let i = 0; i < 200 && !condition(); i++) await sleep(10);
  assert.ok(condition());
};

test("made without a pool, listed, removed twice", async () => {
  const netns = driver(0);
  assert.equal(await netns.create("a1"), join(dir, "a1"));
  assert.equal(netns.path("a1"), join(dir, "a1"));
  assert.ok(enterNetnsSync(netns.path("a1"), () => networkInterfaces().lo));
  await assert.rejects(netns.create("a1"), (error) => isKind(error, "already-exists"));
  assert.deepEqual(await netns.list(), ["a1"]);
  await netns.remove("a1");
  await netns.remove("a1");
  assert.deepEqual(await netns.list(), []);
  assert.throws(() => netns.path("../x"), /not a sandbox id/);
  assert.throws(() => netns.path(".pool-1"), /not a sandbox id/);
  await netns.close();
});

test("the pool fills by itself, gives each namespace once, and is dropped at the end", async () => {
  const netns = driver(2);
  await until(() => files(".pool").length === 2);
  const ids = ["s1", "s2", "s3", "s4"];
  await Promise.all(ids.map((id) => netns.create(id)));
  assert.equal(new Set(ids.map((id) => statSync(join(dir, id)).ino)).size, 4);
  assert.deepEqual(new Set(await netns.list()), new Set(ids));
  await until(() => files(".pool").length === 2);
  await netns.close();
  await sleep(300);
  assert.deepEqual(files(".pool"), []);
  for (const id of ids) await netns.remove(id);
});

test("a pool left by a killed daemon is taken over, but for what is no namespace or already a sandbox's", async () => {
  const killed = driver(3);
  await until(() => files(".pool").length === 3);
  const [first, ...rest] = files(".pool").map((name) => join(dir, name));
  assert.ok(first !== undefined);
  // killed between the two steps of the handing over
  writeFileSync(join(dir, "s1"), "");
  mount(first, join(dir, "s1"), "", MS_BIND);
  writeFileSync(join(dir, ".pool-stale"), "");
  const kept = new Set(rest.map((path) => statSync(path).ino));
  const netns = driver(2);
  await sleep(50);
  assert.deepEqual(new Set(files(".pool").map((name) => statSync(join(dir, name)).ino)), kept);
  assert.deepEqual(await netns.list(), ["s1"]);
  await netns.remove("s1");
  await netns.close();
  await killed.close();
});

test("interface counters", async () => {
  assert.ok(Array.isArray(await readInterfaces(process.pid)));
  const [lo, eth] = parseNetDev(`Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       1       2    3    4    0     0          0         0        5       6    7    8    0     0       0          0
eth0:9 123456789012 0 0 0 0 0 0 9007199254740991 1 0 0 0 0 0 0
`);
  assert.deepEqual(lo, {
    name: "lo",
    rxBytes: 1,
    rxPackets: 2,
    rxErrors: 3,
    rxDropped: 4,
    txBytes: 5,
    txPackets: 6,
    txErrors: 7,
    txDropped: 8,
  });
  assert.deepEqual([eth?.name, eth?.rxPackets, eth?.txBytes], ["eth0", 123456789012, Number.MAX_SAFE_INTEGER]);
});
