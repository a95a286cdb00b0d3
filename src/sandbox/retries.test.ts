import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { silentLogger } from "../base/log.ts";
import type { CniAttachment } from "../records/cni-attachment.ts";
import { Store } from "../store/store.ts";
import { CniRetries } from "./retries.ts";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "crid-retries-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

const open = (): Store => Store.open({ path: join(dir, "meta.db"), lockPath: join(dir, "lock"), log: silentLogger() });
const attachment: CniAttachment = {
  networkName: "n",
  cniVersion: "1.0.0",
  ifName: "eth0",
  conflist: "{}",
  args: [],
  capabilityArgs: {},
  pending: false,
};
const pod = { id: "s1", name: "default/web", netnsPath: "/x" };

async function until(ready: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !ready(); i++) await sleep(5);
  assert.ok(ready());
}

test("a failed DEL is tried again, at growing distances, until it succeeds", async () => {
  using store = open();
  const calls: number[] = [];
  const del = async (): Promise<void> => {
    calls.push(performance.now());
    if (calls.length < 4) throw new Error(`no ${calls.length}`);
  };
  const retries = new CniRetries({ table: store.cniRetries, cni: { del }, log: silentLogger(), firstDelayMs: 10 });
  store.cniRetries.put(retries.record(pod, attachment, new Error("no 0")));
  retries.wake();
  await until(() => calls.length >= 2);
  assert.equal(retries.list()[0]?.lastError.startsWith("no "), true);
  await until(() => retries.list().length === 0);
  assert.equal(calls.length, 4);
  const [first = 0, second = 0, third = 0, fourth = 0] = calls;
  assert.ok(second - first >= 19 && third - second >= 38 && fourth - third >= 78, calls.join());
  await retries.close();
});

test("what waits survives the daemon; close ends a running attempt", async () => {
  {
    using store = open();
    const hang = (_a: unknown, _b: unknown, { signal }: { signal: AbortSignal }): Promise<void> =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const retries = new CniRetries({ table: store.cniRetries, cni: { del: hang }, log: silentLogger(), firstDelayMs: 1 });
    store.cniRetries.put(retries.record(pod, attachment, new Error("no")));
    retries.start();
    await sleep(20);
    await retries.close();
  }
  using store = open();
  const seen: unknown[] = [];
  const del = async (a: CniAttachment, p: unknown): Promise<void> => void seen.push(a, p);
  const retries = new CniRetries({ table: store.cniRetries, cni: { del }, log: silentLogger() });
  retries.start();
  await until(() => retries.list().length === 0);
  assert.deepEqual(seen, [attachment, { id: "s1", netnsPath: "/x" }]);
  await retries.close();
});
