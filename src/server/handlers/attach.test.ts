import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { containerRecord, request, testCall, testNode } from "../fixtures.ts";
import { attach } from "./attach.ts";

const { v1 } = runtime;

test("answers a URL for a running container only", async () => {
  const node = testNode();
  node.records.set("abc", containerRecord("abc"));
  const ask = async () => attach(node)(request(v1.AttachRequest, { containerId: "abc", stdout: true }), testCall());
  assert.deepEqual(await ask(), { url: "http://127.0.0.1:1/attach/abc" });
  const record = containerRecord("abc");
  node.records.set("abc", { ...record, status: { ...record.status, finishedAt: 12n } });
  await assert.rejects(ask, { kind: "failed-precondition", message: /is in CONTAINER_EXITED state/ });
});

test("refuses a terminal with stderr, and no streams at all", async () => {
  const ask = async (streams: { tty?: boolean; stdout?: boolean; stderr?: boolean }) =>
    attach(testNode())(request(v1.AttachRequest, { containerId: "abc", ...streams }), testCall());
  await assert.rejects(ask({ tty: true, stdout: true, stderr: true }), {
    kind: "invalid-argument",
    message: /^stderr: cannot go with tty/,
  });
  await assert.rejects(ask({}), { kind: "invalid-argument", message: /one of them must be set/ });
});
