import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { containerRecord, request, testCall, testNode } from "../fixtures.ts";
import { listContainers } from "./list-containers.ts";

const { v1 } = runtime;

test("lists what the filter leaves, with states as they are now", async () => {
  const node = testNode();
  node.records.set("a", containerRecord("a"));
  const list = listContainers(node);
  const ask = async (filter: runtime.v1.ContainerFilter.$Properties | null = null) => {
    const bytes = await list(request(v1.ListContainersRequest, { filter }), testCall());
    return v1.ListContainersResponse.decode(bytes as Buffer).containers.map(({ id, state }) => ({ id, state }));
  };
  assert.deepEqual(await ask(), [{ id: "a", state: v1.ContainerState.CONTAINER_RUNNING }]);
  const record = containerRecord("a");
  node.records.set("a", { ...record, status: { ...record.status, finishedAt: 12n } });
  assert.deepEqual(await ask(), [{ id: "a", state: v1.ContainerState.CONTAINER_EXITED }]);
  assert.deepEqual(await ask({ state: { state: v1.ContainerState.CONTAINER_RUNNING } }), []);
});
