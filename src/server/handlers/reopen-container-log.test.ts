import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { reopenContainerLog } from "./reopen-container-log.ts";

const { v1 } = runtime;

test("hands the id on", async () => {
  const node = testNode();
  assert.deepEqual(await reopenContainerLog(node)(request(v1.ReopenContainerLogRequest, { containerId: "abc" }), testCall()), {});
  assert.deepEqual(node.did, [["reopen", "abc"]]);
});

test("needs an id", async () => {
  const run = async () => reopenContainerLog(testNode())(request(v1.ReopenContainerLogRequest, {}), testCall());
  await assert.rejects(run, { kind: "invalid-argument", message: "container_id: is required" });
});
