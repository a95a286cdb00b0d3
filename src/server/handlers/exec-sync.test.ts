import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { execSync } from "./exec-sync.ts";

const { v1 } = runtime;

test("runs the command and gives its output and exit code", async () => {
  const node = testNode();
  const answer = await execSync(node)(request(v1.ExecSyncRequest, { containerId: "abc", cmd: ["a", "b"], timeout: 2n }), testCall());
  assert.deepEqual(answer, { stdout: Buffer.from("out"), stderr: Buffer.alloc(0), exitCode: 3 });
  assert.deepEqual(node.did, [["exec-sync", "abc", ["a", "b"], 2000]]);
});

test("needs a command", async () => {
  const run = async () => execSync(testNode())(request(v1.ExecSyncRequest, { containerId: "abc" }), testCall());
  await assert.rejects(run, { kind: "invalid-argument", message: "cmd: is required" });
});
