import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { status } from "./status.ts";

const { v1 } = runtime;

test("conditions, handlers, and the configuration that kubeadm reads", async () => {
  const answer = await status(testNode())(request(v1.StatusRequest, { verbose: true }), testCall());
  assert.ok(!Buffer.isBuffer(answer));
  assert.deepEqual(answer.status?.conditions, [
    { type: "RuntimeReady", status: true, reason: "", message: "" },
    { type: "NetworkReady", status: false, reason: "NoConfig", message: "no conf in /etc/cni/net.d" },
  ]);
  assert.deepEqual(answer.runtimeHandlers, [{ name: "", features: { recursiveReadOnlyMounts: true, userNamespaces: false } }]);
  assert.deepEqual(answer.info, { config: '{"sandboxImage":"built-in"}' });
});
