import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { stopContainer } from "./stop-container.ts";

const { v1 } = runtime;

test("the timeout is seconds, and never past what a timer can wait", async () => {
  const node = testNode();
  for (const timeout of [0n, 30n, 1n << 50n]) {
    await stopContainer(node)(request(v1.StopContainerRequest, { containerId: "abc", timeout }), testCall());
  }
  assert.deepEqual(node.did, [
    ["stop", "abc", 0],
    ["stop", "abc", 30_000],
    ["stop", "abc", 2_000_000_000],
  ]);
});

test("a negative timeout is refused", async () => {
  const run = async () => stopContainer(testNode())(request(v1.StopContainerRequest, { containerId: "abc", timeout: -1n }), testCall());
  await assert.rejects(run, { kind: "invalid-argument", message: "timeout: -1 is negative" });
});
