import assert from "node:assert/strict";
import { test } from "node:test";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { request, testCall } from "../fixtures.ts";
import { checkImages } from "./check-images.ts";
import { testServices } from "./fixtures.ts";

const { v1 } = crid.admin;

const fault = {
  fault: { imageId: "sha256:abc", tags: ["docker.io/library/nginx:1"], kind: "blob-missing", name: "sha256:b", detail: "" },
};
const repaired = { repair: { imageId: "sha256:abc", tags: ["docker.io/library/nginx:1"], outcome: "repaired", detail: "" } };

test("tells the faults, and repairs when asked to", async () => {
  const check = checkImages(testServices());
  const run = (repair: boolean) => Array.fromAsync(check(request(v1.CheckImagesRequest, { repair }), testCall()));
  assert.deepEqual(await run(false), [fault]);
  assert.deepEqual(await run(true), [fault, repaired]);
});

test("one at a time", async () => {
  const services = testServices();
  const held = Promise.withResolvers<never[]>();
  const check = checkImages({ images: { ...services.images, check: () => held.promise } });
  const run = () => Array.fromAsync(check(request(v1.CheckImagesRequest, {}), testCall()));
  const first = run();
  await assert.rejects(run(), { kind: "unavailable" });
  held.resolve([]);
  assert.deepEqual(await first, []);
});
