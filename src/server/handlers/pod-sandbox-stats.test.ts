import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { podStatus, request, testCall, testNode } from "../fixtures.ts";
import { podSandboxStats } from "./pod-sandbox-stats.ts";

const { v1 } = runtime;

test("network: eth0 is the pod's own interface, the others stand apart", async () => {
  const node = testNode();
  node.pods.set("p1", podStatus("p1"));
  const answer = await podSandboxStats(node)(request(v1.PodSandboxStatsRequest, { podSandboxId: "p1" }), testCall());
  const { stats } = v1.PodSandboxStatsResponse.decode(v1.PodSandboxStatsResponse.encode(answer as object).finish());
  assert.equal(stats?.attributes?.metadata?.name, "web");
  assert.equal(stats?.linux?.network?.defaultInterface?.name, "eth0");
  assert.equal(stats?.linux?.network?.defaultInterface?.txBytes?.value, 11n);
  assert.deepEqual(
    stats?.linux?.network?.interfaces.map(({ name }) => name),
    ["net1"],
  );
  assert.equal(stats?.linux?.process?.processCount?.value, 3n);
});

test("the kubelet's probe without an id gets another error than UNIMPLEMENTED", async () => {
  const run = async () => podSandboxStats(testNode())(request(v1.PodSandboxStatsRequest, {}), testCall());
  await assert.rejects(run, { kind: "invalid-argument" });
});
