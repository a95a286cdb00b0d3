import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { containerRecord, request, testCall, testNode } from "../fixtures.ts";
import { containerStats } from "./container-stats.ts";

const { v1 } = runtime;

test("numbers of the cgroup and of the writable layer", async () => {
  const node = testNode();
  node.records.set("c1", containerRecord("c1"));
  const answer = await containerStats(node)(request(v1.ContainerStatsRequest, { containerId: "c1" }), testCall());
  const { stats } = v1.ContainerStatsResponse.decode(v1.ContainerStatsResponse.encode(answer as object).finish());
  assert.equal(stats?.attributes?.id, "c1");
  assert.equal(stats?.cpu?.usageCoreNanoSeconds?.value, 5_000_000_000n);
  assert.equal(stats?.cpu?.usageNanoCores?.value, 7n);
  assert.equal(stats?.cpu?.psi?.Some?.Total, 2_000_000_000n);
  assert.equal(stats?.memory?.workingSetBytes?.value, 80n);
  assert.equal(stats?.memory?.availableBytes?.value, 120n);
  assert.equal(stats?.swap, null);
  assert.equal(stats?.writableLayer?.fsId?.mountpoint, "/var/lib/crid/snapshots");
  assert.equal(stats?.writableLayer?.usedBytes?.value, 4096n);
});

test("an unknown container is not found", async () => {
  const run = async () => containerStats(testNode())(request(v1.ContainerStatsRequest, { containerId: "x" }), testCall());
  await assert.rejects(run, { kind: "not-found" });
});
