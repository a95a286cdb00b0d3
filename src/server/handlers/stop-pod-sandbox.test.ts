import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { stopPodSandbox } from "./stop-pod-sandbox.ts";

const { v1 } = runtime;

test("hands the id on", async () => {
  const node = testNode();
  assert.deepEqual(await stopPodSandbox(node)(request(v1.StopPodSandboxRequest, { podSandboxId: "abc" }), testCall()), {});
  assert.deepEqual(node.did, [["stop-pod", "abc"]]);
});

test("needs an id", async () => {
  const run = async () => stopPodSandbox(testNode())(request(v1.StopPodSandboxRequest, {}), testCall());
  await assert.rejects(run, { kind: "invalid-argument", message: "pod_sandbox_id: is required" });
});
