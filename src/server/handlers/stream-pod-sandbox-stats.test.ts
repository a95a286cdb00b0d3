import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { podStatus, request, testCall, testNode } from "../fixtures.ts";
import { streamPodSandboxStats } from "./stream-pod-sandbox-stats.ts";

const { v1 } = runtime;

test("in pages", async () => {
  const node = testNode();
  for (let i = 0; i < 101; i++) node.pods.set(`p${i}`, podStatus(`p${i}`));
  const sizes: number[] = [];
  for await (const page of streamPodSandboxStats(node)(request(v1.StreamPodSandboxStatsRequest, {}), testCall())) {
    assert.ok(!Buffer.isBuffer(page));
    sizes.push(page.podSandboxStats?.length ?? 0);
  }
  assert.deepEqual(sizes, [100, 1]);
});
