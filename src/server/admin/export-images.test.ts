import assert from "node:assert/strict";
import { test } from "node:test";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { request, testCall } from "../fixtures.ts";
import { exportImages } from "./export-images.ts";
import { testServices } from "./fixtures.ts";

const { v1 } = crid.admin;

test("sends the archive; needs an image", async () => {
  const services = testServices();
  const send = (message: Parameters<typeof v1.ExportImagesRequest.encode>[0]) =>
    Array.fromAsync(exportImages(services)(request(v1.ExportImagesRequest, message), testCall()));
  assert.deepEqual(await send({ refs: ["a", "b"], allPlatforms: true }), [{ data: Buffer.from("archive") }]);
  assert.deepEqual(services.did, [["export", ["a", "b"], true]]);
  await assert.rejects(send({}), { kind: "invalid-argument", message: "refs: is required" });
});
