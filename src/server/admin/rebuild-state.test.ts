import assert from "node:assert/strict";
import { test } from "node:test";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { request, testCall } from "../fixtures.ts";
import { testServices } from "./fixtures.ts";
import { rebuildState } from "./rebuild-state.ts";

const { v1 } = crid.admin;

test("what was restored, and what was not", async () => {
  const answer = await rebuildState(testServices())(request(v1.RebuildStateRequest, {}), testCall());
  assert.ok(!Buffer.isBuffer(answer));
  assert.deepEqual([answer.restored?.map(({ id }) => id), answer.skipped], [["sha256:abc"], [{ what: "x", why: "y" }]]);
});
