import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { podStatus, request, testCall, testNode } from "../fixtures.ts";
import { streamPodSandboxes } from "./stream-pod-sandboxes.ts";

const { v1 } = runtime;

test("streams the whole list in pages", async () => {
  const node = testNode();
  for (let i = 0; i < 6000; i++) node.pods.set(`p${i}`, podStatus(`p${i}`));
  const ids: string[] = [];
  let pages = 0;
  for await (const page of streamPodSandboxes(node)(request(v1.StreamPodSandboxesRequest, {}), testCall())) {
    pages++;
    ids.push(...v1.StreamPodSandboxesResponse.decode(page as Buffer).podSandboxes.map(({ id }) => id));
  }
  assert.deepEqual(ids, [...node.pods.keys()]);
  assert.ok(pages > 1);
});
