import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { podStatus, request, testCall, testNode } from "../fixtures.ts";
import { maxPageBytes } from "./pages.ts";
import { streamPodSandboxMetrics } from "./stream-pod-sandbox-metrics.ts";

const { v1 } = runtime;

test("one consistent list, in pages of a bounded size", async () => {
  const node = testNode();
  const ids = Array.from({ length: 1000 }, (_, i) => `x${i}`);
  for (const id of ids) node.pods.set(id, podStatus(id));
  const seen: string[] = [];
  let pages = 0;
  for await (const page of streamPodSandboxMetrics(node)(request(v1.StreamPodSandboxMetricsRequest, {}), testCall())) {
    assert.ok(Buffer.isBuffer(page) && page.length <= maxPageBytes);
    seen.push(...v1.StreamPodSandboxMetricsResponse.decode(page).podSandboxMetrics.map((one) => one.podSandboxId ?? ""));
    // What comes and goes meanwhile is in the next list.
    if (pages++ === 0) node.pods.clear();
  }
  assert.deepEqual(seen, ids);
  assert.ok(pages > 1);
});
