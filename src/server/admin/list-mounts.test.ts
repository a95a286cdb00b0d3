import assert from "node:assert/strict";
import { test } from "node:test";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { request, testCall } from "../fixtures.ts";
import { testServices } from "./fixtures.ts";
import { listMounts } from "./list-mounts.ts";

const { v1 } = crid.admin;

test("what people have mounted", async () => {
  const answer = await listMounts(testServices())(request(v1.ListMountsRequest, {}), testCall());
  assert.deepEqual(answer, { mounts: [{ imageId: "sha256:abc", path: "/run/x" }] });
});
