import assert from "node:assert/strict";
import { test } from "node:test";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { request, testCall } from "../fixtures.ts";
import { testServices } from "./fixtures.ts";
import { listPulls } from "./list-pulls.ts";

const { v1 } = crid.admin;

test("what each pull has so far", async () => {
  const services = testServices();
  const blobs = [{ digest: "sha256:b", state: "downloading" as const, bytes: 3, size: 10 }];
  const images = { ...services.images, pulls: () => [{ ref: "a:1", startedAtMs: 5, blobs }] };
  const answer = await listPulls({ images })(request(v1.ListPullsRequest, {}), testCall());
  assert.deepEqual(answer, {
    pulls: [{ ref: "a:1", startedAtMs: 5n, blobs: [{ digest: "sha256:b", state: "downloading", bytes: 3n, size: 10n }] }],
  });
});
