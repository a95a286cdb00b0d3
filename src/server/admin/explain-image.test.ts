import assert from "node:assert/strict";
import { test } from "node:test";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { request, testCall } from "../fixtures.ts";
import { explainImage } from "./explain-image.ts";
import { testServices } from "./fixtures.ts";

const { v1 } = crid.admin;

test("every endpoint with its answer", async () => {
  const explain = async (ref: string) => explainImage(testServices())(request(v1.ExplainImageRequest, { ref }), testCall());
  const answer = await explain("app");
  assert.ok(!Buffer.isBuffer(answer));
  assert.equal(answer.reference, "full/app");
  assert.deepEqual(
    answer.endpoints?.map(({ ok, digest, error, answeredMs, penaltyMs }) => [ok, digest, error, answeredMs, penaltyMs]),
    [
      [true, "sha256:d", undefined, 3n, 2n],
      [false, undefined, "404", 4n, 2n],
    ],
  );
  await assert.rejects(explain(""), { kind: "invalid-argument" });
});
