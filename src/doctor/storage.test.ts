import assert from "node:assert/strict";
import { test } from "node:test";
import { checkStorage, type Disk, judgeRoot } from "./storage.ts";

const gib = 1024 ** 3;
const disk: Disk = { type: 0xef53, bytes: 100 * gib, bytesFree: 50 * gib, inodes: 1e6, inodesFree: 5e5 };

test("free space and inodes are judged by what the kubelet evicts at", () => {
  const verdict = (change: Partial<Disk>): string | undefined => judgeRoot("/r", { ...disk, ...change })[0]?.verdict;
  assert.equal(verdict({}), "ok");
  assert.equal(verdict({ bytesFree: 10 * gib }), "warning");
  assert.equal(verdict({ bytesFree: gib / 4 }), "failure");
  assert.equal(verdict({ inodesFree: 1e4 }), "warning");
  assert.equal(verdict({ inodes: 0, inodesFree: 0 }), "ok", "btrfs counts no inodes");
  assert.equal(verdict({ type: 0x794c7630 }), "failure", "an overlay on an overlay");
  assert.equal(verdict({ type: 0x01021994 }), "warning", "tmpfs");
});

test("the root need not exist yet; a state path that is too long is a failure", async () => {
  const findings = await checkStorage({ root: "/nonexistent/crid", state: `/run/${"x".repeat(100)}` });
  assert.equal(findings.length, 2);
  assert.equal(findings[1]?.verdict, "failure");
});
