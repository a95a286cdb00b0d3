import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { imageRecord, request, testCall, testNode } from "../fixtures.ts";
import { streamImages } from "./stream-images.ts";

const { v1 } = runtime;

test("all images in pages", async () => {
  const node = testNode();
  for (let i = 0; i < 250; i++) node.pulled.set(`i${i}`, imageRecord(`i${i}`));
  const sizes: number[] = [];
  for await (const page of streamImages(node)(request(v1.StreamImagesRequest, {}), testCall())) {
    assert.ok(!Buffer.isBuffer(page));
    sizes.push(page.images?.length ?? 0);
  }
  assert.deepEqual(sizes, [100, 100, 50]);
});
