import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { containerRecord, podStatus, request, testCall, testNode } from "../fixtures.ts";
import { listPodSandboxStats } from "./list-pod-sandbox-stats.ts";

const { v1 } = runtime;

test("pods with their containers", async () => {
  const node = testNode();
  node.pods.set("p1", podStatus("p1"));
  node.records.set("c1", containerRecord("c1"));
  const answer = await listPodSandboxStats(node)(request(v1.ListPodSandboxStatsRequest, {}), testCall());
  assert.ok(!Buffer.isBuffer(answer));
  assert.deepEqual(
    answer.stats?.map(({ linux }) => linux?.containers?.map(({ attributes }) => attributes?.id)),
    [["c1"]],
  );
});
