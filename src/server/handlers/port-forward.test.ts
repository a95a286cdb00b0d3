import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { podStatus, request, testCall, testNode } from "../fixtures.ts";
import { portForward } from "./port-forward.ts";

const { v1 } = runtime;

test("answers a URL for a ready pod only", async () => {
  const node = testNode();
  node.pods.set("abc", podStatus("abc"));
  const ask = async () => portForward(node)(request(v1.PortForwardRequest, { podSandboxId: "abc", port: [80] }), testCall());
  assert.deepEqual(await ask(), { url: "http://127.0.0.1:1/portforward/abc" });
  node.pods.set("abc", podStatus("abc", { state: "not-ready" }));
  await assert.rejects(ask, { kind: "failed-precondition" });
});
