import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { containerRecord, request, testCall, testNode } from "../fixtures.ts";
import { streamContainers } from "./stream-containers.ts";

const { v1 } = runtime;

test("streams the whole list in pages; nothing is no page", async () => {
  const node = testNode();
  const all = async () => {
    const ids: string[] = [];
    for await (const page of streamContainers(node)(request(v1.StreamContainersRequest, {}), testCall())) {
      ids.push(...v1.StreamContainersResponse.decode(page as Buffer).containers.map(({ id }) => id));
    }
    return ids;
  };
  assert.deepEqual(await all(), []);
  for (let i = 0; i < 3000; i++) node.records.set(`c${i}`, containerRecord(`c${i}`));
  assert.deepEqual(await all(), [...node.records.keys()]);
});
