import assert from "node:assert/strict";
import { test } from "node:test";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { request, testCall } from "../fixtures.ts";
import { testServices } from "./fixtures.ts";
import { removeImage } from "./remove-image.ts";

const { v1 } = crid.admin;

test("the image with all names, or one name; whether there was one", async () => {
  const services = testServices();
  const remove = async (ref: string, nameOnly = false) =>
    removeImage(services)(request(v1.RemoveImageRequest, { ref, nameOnly }), testCall());
  assert.deepEqual(await remove("a"), { removed: true });
  assert.deepEqual(await remove("gone"), { removed: false });
  assert.deepEqual(await remove("a", true), { removed: true });
  assert.deepEqual(services.did, [
    ["remove", "a"],
    ["remove", "gone"],
    ["untag", "a"],
  ]);
  await assert.rejects(remove(""), { kind: "invalid-argument" });
});
