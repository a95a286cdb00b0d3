import assert from "node:assert/strict";
import { test } from "node:test";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { request, testCall } from "../fixtures.ts";
import { testServices } from "./fixtures.ts";
import { listContent } from "./list-content.ts";

const { v1 } = crid.admin;

test("all blobs, with the images that have them", async () => {
  const pages = await Array.fromAsync(listContent(testServices())(request(v1.ListContentRequest, {}), testCall()));
  assert.deepEqual(pages, [
    {
      blobs: [
        { digest: "sha256:def", size: 5n, modifiedAtMs: 8n, imageIds: ["sha256:abc"] },
        { digest: "sha256:nobody", size: 6n, modifiedAtMs: 8n, imageIds: [] },
      ],
    },
  ]);
});
