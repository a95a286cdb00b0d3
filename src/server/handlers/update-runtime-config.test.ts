import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { updateRuntimeConfig } from "./update-runtime-config.ts";

const { v1 } = runtime;

test("takes a pod CIDR, and nothing else", async () => {
  const node = testNode();
  const ask = async (podCidr: string) =>
    updateRuntimeConfig(node)(request(v1.UpdateRuntimeConfigRequest, { runtimeConfig: { networkConfig: { podCidr } } }), testCall());
  await ask("10.1.0.0/16");
  await ask("");
  assert.deepEqual(node.did, [["cidr", "10.1.0.0/16"]]);
});
