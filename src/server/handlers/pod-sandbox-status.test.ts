import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { nowNanos } from "../../base/time.ts";
import { containerRecord, podStatus, request, testCall, testNode } from "../fixtures.ts";
import { podSandboxStatus } from "./pod-sandbox-status.ts";

const { v1 } = runtime;

test("verbose adds JSON, int64 values as strings", async () => {
  const node = testNode();
  node.pods.set("abc", podStatus("abc"));
  const plain = await podSandboxStatus(node)(request(v1.PodSandboxStatusRequest, { podSandboxId: "abc" }), testCall());
  assert.ok(!Buffer.isBuffer(plain) && plain.status?.id === "abc" && plain.info === undefined);
  const verbose = await podSandboxStatus(node)(request(v1.PodSandboxStatusRequest, { podSandboxId: "abc", verbose: true }), testCall());
  assert.deepEqual(!Buffer.isBuffer(verbose) && verbose.info, { info: '{"pid":7,"since":"5","runtimeSpec":{"ociVersion":"1.2.0"}}' });
});

test("all containers of the pod, and the time of it: what the kubelet with evented PLEG goes by", async () => {
  const node = testNode();
  node.pods.set("abc", podStatus("abc"));
  node.records.set("c1", containerRecord("c1"));
  const before = nowNanos();
  const answer = await podSandboxStatus(node)(request(v1.PodSandboxStatusRequest, { podSandboxId: "abc" }), testCall());
  assert.ok(!Buffer.isBuffer(answer));
  assert.deepEqual(
    answer.containersStatuses?.map(({ id }) => id),
    ["c1"],
  );
  assert.ok((answer.timestamp ?? 0n) >= before);
});

test("an unknown pod is not found", async () => {
  const run = async () => podSandboxStatus(testNode())(request(v1.PodSandboxStatusRequest, { podSandboxId: "x" }), testCall());
  await assert.rejects(run, { kind: "not-found" });
});
