import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { imageRecord, request, testCall, testNode } from "../fixtures.ts";
import { listImages } from "./list-images.ts";

const { v1 } = runtime;

test("all images, or the one of the filter", async () => {
  const node = testNode();
  node.pulled.set("a", imageRecord("sha256:a"));
  node.pulled.set("b", imageRecord("sha256:b"));
  const ids = async (image: string) => {
    const answer = await listImages(node)(request(v1.ListImagesRequest, { filter: { image: { image } } }), testCall());
    return !Buffer.isBuffer(answer) && answer.images?.map(({ id }) => id);
  };
  assert.deepEqual(await ids(""), ["sha256:a", "sha256:b"]);
  assert.deepEqual(await ids("b"), ["sha256:b"]);
  assert.deepEqual(await ids("c"), []);
});
