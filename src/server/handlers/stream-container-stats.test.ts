import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { containerRecord, request, testCall, testNode } from "../fixtures.ts";
import { streamContainerStats } from "./stream-container-stats.ts";

const { v1 } = runtime;

test("in pages", async () => {
  const node = testNode();
  for (let i = 0; i < 150; i++) node.records.set(`c${i}`, containerRecord(`c${i}`));
  const sizes: number[] = [];
  for await (const page of streamContainerStats(node)(request(v1.StreamContainerStatsRequest, {}), testCall())) {
    assert.ok(!Buffer.isBuffer(page));
    sizes.push(page.containerStats?.length ?? 0);
  }
  assert.deepEqual(sizes, [100, 50]);
});
