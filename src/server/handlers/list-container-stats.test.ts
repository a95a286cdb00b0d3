import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { containerRecord, request, testCall, testNode } from "../fixtures.ts";
import { listContainerStats } from "./list-container-stats.ts";

const { v1 } = runtime;

test("one entry a container", async () => {
  const node = testNode();
  for (const id of ["a", "b"]) node.records.set(id, containerRecord(id));
  const answer = await listContainerStats(node)(request(v1.ListContainerStatsRequest, {}), testCall());
  assert.ok(!Buffer.isBuffer(answer));
  assert.deepEqual(
    answer.stats?.map(({ attributes }) => attributes?.id),
    ["a", "b"],
  );
});
