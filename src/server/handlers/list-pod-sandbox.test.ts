import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { podStatus, request, testCall, testNode } from "../fixtures.ts";
import { listPodSandbox } from "./list-pod-sandbox.ts";

const { v1 } = runtime;

test("lists what the filter leaves", async () => {
  const node = testNode();
  node.pods.set("a", podStatus("a"));
  node.pods.set("b", podStatus("b", { state: "not-ready" }));
  const list = listPodSandbox(node);
  const ids = async (filter: runtime.v1.PodSandboxFilter.$Properties | null) => {
    const bytes = await list(request(v1.ListPodSandboxRequest, { filter }), testCall());
    return v1.ListPodSandboxResponse.decode(bytes as Buffer).items.map(({ id }) => id);
  };
  assert.deepEqual(await ids(null), ["a", "b"]);
  assert.deepEqual(await ids({ state: { state: v1.PodSandboxState.SANDBOX_NOTREADY } }), ["b"]);
  assert.deepEqual(await ids({ state: { state: v1.PodSandboxState.SANDBOX_READY } }), ["a"]);
});
