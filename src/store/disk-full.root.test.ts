import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { silentLogger } from "../base/log.ts";
import { detachAll, mount } from "../linux/mount.ts";
import type { CniRetryRecord } from "../records/cni-retry-record.ts";
import { Store } from "./store.ts";

function retry(id: string, size: number): CniRetryRecord {
  const attachment = {
    networkName: "n",
    cniVersion: "1.0.0",
    ifName: "eth0",
    conflist: "x".repeat(size),
    args: [],
    capabilityArgs: {},
    pending: true,
  };
  return { id, sandboxId: "s", pod: "p", netnsPath: "", attachment, attempts: 1, lastError: "", firstFailedAt: 1n, nextAttemptAt: 1n };
}

test("a full disk: writes fail with a clear error, reads and removals work, and it recovers", () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "crid-full-"));
  mount("tmpfs", dir, "tmpfs", 0, "size=28m");
  try {
    using store = Store.open({ path: path.join(dir, "meta.db"), lockPath: path.join(dir, "crid.lock"), log: silentLogger() });
    const ballast = path.join(dir, "ballast");
    fs.writeFileSync(ballast, Buffer.alloc(10 << 20));
    let written = 0;
    const fill = (): void => {
      for (; written < 10_000; written++) store.cniRetries.put(retry(`r${written}`, 20_000));
    };
    assert.throws(fill, (error: Error) => {
      assert.deepEqual([(error as { kind?: string }).kind, /free space/.test(error.message)], ["resource-exhausted", true], error.message);
      return true;
    });
    assert.ok(written > 10 && written < 10_000);
    assert.equal(store.cniRetries.size, written, "memory has what the disk has");
    // Something else takes what is left.
    assert.throws(() => fs.writeFileSync(path.join(dir, "more"), Buffer.alloc(28 << 20)), /ENOSPC/);
    assert.equal(store.cniRetries.get("r0")?.attempts, 1);
    store.cniRetries.put({ ...retry("r0", 20_000), attempts: 2 });
    for (const { id } of store.cniRetries.all().slice(0, written - 1)) store.cniRetries.delete(id);
    assert.equal(store.cniRetries.size, 1);
    fs.rmSync(ballast);
    for (let i = 0; i < 20; i++) store.cniRetries.put(retry(`again${i}`, 1_000));
    assert.equal(fs.statSync(path.join(dir, "meta.db.reserve")).size, 4 << 20, "the reserve is back");
  } finally {
    detachAll(dir);
    fs.rmdirSync(dir);
  }
});
