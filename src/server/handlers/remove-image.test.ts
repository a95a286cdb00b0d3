import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { removeImage } from "./remove-image.ts";

const { v1 } = runtime;

test("hands the reference on", async () => {
  const node = testNode();
  assert.deepEqual(await removeImage(node)(request(v1.RemoveImageRequest, { image: { image: "nginx:1" } }), testCall()), {});
  assert.deepEqual(node.did, [["remove-image", "nginx:1"]]);
});
