import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { imageRecord, request, testCall, testNode } from "../fixtures.ts";
import { maxPageBytes } from "./pages.ts";
import { streamImages } from "./stream-images.ts";

const { v1 } = runtime;

test("one consistent list, in pages of a bounded size", async () => {
  const node = testNode();
  const ids = Array.from({ length: 9000 }, (_, i) => `x${i}`);
  for (const id of ids) node.pulled.set(id, imageRecord(id));
  const seen: string[] = [];
  let pages = 0;
  for await (const page of streamImages(node)(request(v1.StreamImagesRequest, {}), testCall())) {
    assert.ok(Buffer.isBuffer(page) && page.length <= maxPageBytes);
    seen.push(...v1.StreamImagesResponse.decode(page).images.map((one) => one.id ?? ""));
    // What comes and goes meanwhile is in the next list.
    if (pages++ === 0) node.pulled.clear();
  }
  assert.deepEqual(seen, ids);
  assert.ok(pages > 1);
});
