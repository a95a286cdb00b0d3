import assert from "node:assert/strict";
import { test } from "node:test";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { request, testCall } from "../fixtures.ts";
import { testServices } from "./fixtures.ts";
import { tagImage } from "./tag-image.ts";

const { v1 } = crid.admin;

test("gives an image a name", async () => {
  const services = testServices();
  const tag = async (ref: string, name: string) => tagImage(services)(request(v1.TagImageRequest, { ref, name }), testCall());
  await tag("a:1", "b:2");
  assert.deepEqual(services.did, [["tag", "a:1", "b:2"]]);
  await assert.rejects(tag("", "b:2"), { kind: "invalid-argument", message: "ref: is required" });
  await assert.rejects(tag("a:1", ""), { kind: "invalid-argument", message: "name: is required" });
});
