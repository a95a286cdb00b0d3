import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { podRequest, request, testCall, testNode } from "../fixtures.ts";
import { runPodSandbox } from "./run-pod-sandbox.ts";

const { v1 } = runtime;

test("runs the pod with its handler", async () => {
  const node = testNode();
  const answer = await runPodSandbox(node)(request(v1.RunPodSandboxRequest, { config: podRequest, runtimeHandler: "crun" }), testCall());
  assert.deepEqual(answer, { podSandboxId: "new-pod" });
  assert.deepEqual(node.did, [["run", "web", "crun"]]);
});

test("a request without configuration is refused", async () => {
  const run = async () => runPodSandbox(testNode())(request(v1.RunPodSandboxRequest, {}), testCall());
  await assert.rejects(run, { kind: "invalid-argument", message: "config: is required" });
});
