import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { containerRecord, request, testCall, testNode } from "../fixtures.ts";
import { containerStatus } from "./container-status.ts";

const { v1 } = runtime;

test("verbose adds what crictl inspect shows", async () => {
  const node = testNode();
  node.records.set("abc", containerRecord("abc"));
  const answer = await containerStatus(node)(request(v1.ContainerStatusRequest, { containerId: "abc", verbose: true }), testCall());
  assert.ok(!Buffer.isBuffer(answer));
  assert.equal(answer.status?.id, "abc");
  const info = JSON.parse(answer.info?.info ?? "") as { sandboxID: string };
  assert.equal(info.sandboxID, "pod1");
});

test("an unknown container is not found", async () => {
  const run = async () => containerStatus(testNode())(request(v1.ContainerStatusRequest, { containerId: "x" }), testCall());
  await assert.rejects(run, { kind: "not-found" });
});
