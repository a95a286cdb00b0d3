import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { updateContainerResources } from "./update-container-resources.ts";

const { v1 } = runtime;

test("hands the limits on", async () => {
  const node = testNode();
  const linux = { memoryLimitInBytes: 64n << 20n, cpuQuota: -1n };
  await updateContainerResources(node)(request(v1.UpdateContainerResourcesRequest, { containerId: "abc", linux }), testCall());
  const resources = node.did[0]?.[2] as { memoryLimitBytes: number; cpuQuota: number };
  assert.equal(resources.memoryLimitBytes, 64 << 20);
  assert.equal(resources.cpuQuota, -1);
});

test("needs limits", async () => {
  const run = async () =>
    updateContainerResources(testNode())(request(v1.UpdateContainerResourcesRequest, { containerId: "a" }), testCall());
  await assert.rejects(run, { kind: "invalid-argument", message: "linux: is required" });
});
