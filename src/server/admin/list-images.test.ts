import assert from "node:assert/strict";
import { test } from "node:test";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { request, testCall } from "../fixtures.ts";
import { testServices } from "./fixtures.ts";
import { listImages } from "./list-images.ts";

const { v1 } = crid.admin;

test("all images, or the one that is asked for", async () => {
  const services = testServices();
  const ask = async (ref: string) => {
    const answer = await listImages(services)(request(v1.ListImagesRequest, { ref }), testCall());
    return Buffer.isBuffer(answer) ? [] : (answer.images ?? []);
  };
  assert.deepEqual(await ask(""), [
    {
      id: "sha256:abc",
      tags: ["docker.io/library/nginx:1"],
      digests: [],
      manifestDigest: "sha256:def",
      sizeBytes: 1234n,
      platform: "linux/amd64",
      pinned: false,
      layers: 1,
    },
  ]);
  assert.equal((await ask("nginx:1")).length, 1);
  assert.deepEqual(await ask("gone"), []);
});
