import assert from "node:assert/strict";
import { test } from "node:test";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { request, testCall } from "../fixtures.ts";
import { testServices } from "./fixtures.ts";
import { mountImage } from "./mount-image.ts";

const { v1 } = crid.admin;

test("answers where the image is mounted", async () => {
  const mount = async (ref: string) => mountImage(testServices())(request(v1.MountImageRequest, { ref }), testCall());
  assert.deepEqual(await mount("a"), { mount: { imageId: "sha256:abc", path: "/run/x" } });
  await assert.rejects(mount("gone"), { kind: "not-found" });
  await assert.rejects(mount(""), { kind: "invalid-argument" });
});
