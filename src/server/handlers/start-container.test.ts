import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { startContainer } from "./start-container.ts";

const { v1 } = runtime;

test("hands the id on", async () => {
  const node = testNode();
  assert.deepEqual(await startContainer(node)(request(v1.StartContainerRequest, { containerId: "abc" }), testCall()), {});
  assert.deepEqual(node.did, [["start", "abc"]]);
});

test("needs an id", async () => {
  const run = async () => startContainer(testNode())(request(v1.StartContainerRequest, {}), testCall());
  await assert.rejects(run, { kind: "invalid-argument", message: "container_id: is required" });
});
