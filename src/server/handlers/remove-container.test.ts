import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { removeContainer } from "./remove-container.ts";

const { v1 } = runtime;

test("hands the id on", async () => {
  const node = testNode();
  assert.deepEqual(await removeContainer(node)(request(v1.RemoveContainerRequest, { containerId: "abc" }), testCall()), {});
  assert.deepEqual(node.did, [["remove", "abc"]]);
});

test("needs an id", async () => {
  const run = async () => removeContainer(testNode())(request(v1.RemoveContainerRequest, {}), testCall());
  await assert.rejects(run, { kind: "invalid-argument", message: "container_id: is required" });
});
