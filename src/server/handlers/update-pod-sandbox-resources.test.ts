import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { updatePodSandboxResources } from "./update-pod-sandbox-resources.ts";

const { v1 } = runtime;

test("hands on what was sent", async () => {
  const node = testNode();
  const ask = async (change: runtime.v1.UpdatePodSandboxResourcesRequest.$Properties) =>
    updatePodSandboxResources(node)(request(v1.UpdatePodSandboxResourcesRequest, { podSandboxId: "abc", ...change }), testCall());
  await ask({ resources: { cpuShares: 5n } });
  const [name, id, resources, overhead] = node.did[0] ?? [];
  assert.deepEqual([name, id, (resources as { cpuShares: number }).cpuShares, overhead], ["update-pod", "abc", 5, undefined]);
});
