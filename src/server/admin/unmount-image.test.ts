import assert from "node:assert/strict";
import { test } from "node:test";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { request, testCall } from "../fixtures.ts";
import { testServices } from "./fixtures.ts";
import { unmountImage } from "./unmount-image.ts";

const { v1 } = crid.admin;

test("by image or by path", async () => {
  const services = testServices();
  const unmount = async (what: string) => unmountImage(services)(request(v1.UnmountImageRequest, { what }), testCall());
  await unmount("/run/x");
  assert.deepEqual(services.did, [["unmount", "/run/x"]]);
  await assert.rejects(unmount(""), { kind: "invalid-argument" });
});
