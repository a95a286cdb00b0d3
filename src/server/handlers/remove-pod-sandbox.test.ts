import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { removePodSandbox } from "./remove-pod-sandbox.ts";

const { v1 } = runtime;

test("hands the id on", async () => {
  const node = testNode();
  assert.deepEqual(await removePodSandbox(node)(request(v1.RemovePodSandboxRequest, { podSandboxId: "abc" }), testCall()), {});
  assert.deepEqual(node.did, [["remove-pod", "abc"]]);
});

test("needs an id", async () => {
  const run = async () => removePodSandbox(testNode())(request(v1.RemovePodSandboxRequest, {}), testCall());
  await assert.rejects(run, { kind: "invalid-argument", message: "pod_sandbox_id: is required" });
});
