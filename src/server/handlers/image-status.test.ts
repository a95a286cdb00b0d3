import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { imageRecord, request, testCall, testNode } from "../fixtures.ts";
import { imageStatus } from "./image-status.ts";

const { v1 } = runtime;

test("users as numbers and as names; an absent image is an empty answer", async () => {
  const node = testNode();
  const ask = async (image: string, verbose = false) =>
    imageStatus(node)(request(v1.ImageStatusRequest, { image: { image }, verbose }), testCall());
  assert.deepEqual(await ask("x"), {});
  for (const [user, uid, username] of [
    ["1002:10", 1002n, undefined],
    ["www-data:x", undefined, "www-data"],
    ["", undefined, undefined],
  ] as const) {
    node.pulled.set("x", imageRecord("sha256:x", user));
    const answer = await ask("x");
    assert.ok(!Buffer.isBuffer(answer));
    assert.equal(answer.image?.uid?.value, uid);
    assert.equal(answer.image?.username, username);
    assert.equal(answer.image?.size, 1234n);
  }
  const verbose = await ask("x", true);
  assert.match((!Buffer.isBuffer(verbose) && verbose.info?.info) || "", /"chainID":"sha256:c1"/);
});
