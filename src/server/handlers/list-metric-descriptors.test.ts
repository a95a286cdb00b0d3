import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall } from "../fixtures.ts";
import { listMetricDescriptors } from "./list-metric-descriptors.ts";

const { v1 } = runtime;

test("each has help and labels, and no name stands twice", async () => {
  const answer = await listMetricDescriptors()(request(v1.ListMetricDescriptorsRequest, {}), testCall());
  assert.ok(!Buffer.isBuffer(answer));
  const descriptors = answer.descriptors ?? [];
  assert.ok(descriptors.every(({ help, labelKeys }) => help !== "" && (labelKeys?.length ?? 0) >= 6));
  assert.equal(new Set(descriptors.map(({ name }) => name)).size, descriptors.length);
});
