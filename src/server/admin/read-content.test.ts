import assert from "node:assert/strict";
import { test } from "node:test";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { digestOf } from "../../base/digest.ts";
import { request, testCall } from "../fixtures.ts";
import { testServices } from "./fixtures.ts";
import { readContent } from "./read-content.ts";

const { v1 } = crid.admin;

test("a blob; one that is damaged ends with an error", async () => {
  const services = testServices();
  const read = (digest: string) => Array.fromAsync(readContent(services)(request(v1.ReadContentRequest, { digest }), testCall()));
  assert.deepEqual(await read(digestOf("blob")), [{ data: Buffer.from("blob") }]);
  await assert.rejects(read(`sha256:${"1".repeat(64)}`), { kind: "data-loss" });
  await assert.rejects(read(`sha256:${"0".repeat(64)}`), { kind: "not-found" });
  await assert.rejects(read("../../etc/passwd"), { kind: "invalid-argument" });
});
