import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { containerRequest, request, testCall, testNode } from "../fixtures.ts";
import { createContainer } from "./create-container.ts";

const { v1 } = runtime;

test("creates in the pod", async () => {
  const node = testNode();
  const answer = await createContainer(node)(
    request(v1.CreateContainerRequest, { podSandboxId: "pod1", config: containerRequest }),
    testCall(),
  );
  assert.deepEqual(answer, { containerId: "new-container" });
  assert.deepEqual(node.did, [["create", "pod1", "main"]]);
});

test("names the missing field", async () => {
  const run = async () => createContainer(testNode())(request(v1.CreateContainerRequest, { config: containerRequest }), testCall());
  await assert.rejects(run, { kind: "invalid-argument", message: "pod_sandbox_id: is required" });
});
