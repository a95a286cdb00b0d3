import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { nowNanos } from "../../base/time.ts";
import { containerRecord, podStatus, request, testCall, testNode } from "../fixtures.ts";
import { getContainerEvents } from "./get-container-events.ts";

const { v1 } = runtime;

test("events carry the statuses of pod and containers", async () => {
  const node = testNode();
  node.pods.set("pod1", podStatus("pod1"));
  node.records.set("c1", containerRecord("c1"));
  const stream = getContainerEvents(node)(request(v1.GetEventsRequest, {}), testCall())[Symbol.asyncIterator]();
  const first = stream.next();
  const before = nowNanos();
  node.published.publish({ type: "stopped", containerId: "c1", sandboxId: "pod1", at: 9n });
  const { value } = await first;
  assert.equal(value.containerEventType, v1.ContainerEventType.CONTAINER_STOPPED_EVENT);
  // The kubelet drops what is older than the last status of the pod.
  assert.ok(value.createdAt >= before, "the time of the statuses, not of the exit");
  assert.equal(value.podSandboxStatus.id, "pod1");
  assert.deepEqual(
    value.containersStatuses.map(({ id }: { id: string }) => id),
    ["c1"],
  );
  await stream.return?.();
  assert.equal(node.published.subscribers, 0);
});

test("a caller that does not keep up is told so", async () => {
  const node = testNode();
  const stream = getContainerEvents(node)(request(v1.GetEventsRequest, {}), testCall())[Symbol.asyncIterator]();
  const first = stream.next();
  for (let i = 0; i < 5; i++) node.published.publish({ type: "created", containerId: `c${i}`, sandboxId: "gone", at: 1n });
  await assert.rejects(
    async () => {
      await first;
      for (;;) if ((await stream.next()).done === true) return;
    },
    { kind: "resource-exhausted" },
  );
});

test("an aborted call ends with the reason", async () => {
  const abort = new AbortController();
  const stream = getContainerEvents(testNode())(request(v1.GetEventsRequest, {}), testCall(abort.signal))[Symbol.asyncIterator]();
  const first = stream.next();
  abort.abort(new Error("gone"));
  await assert.rejects(first, /gone/);
});
