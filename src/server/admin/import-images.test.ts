import assert from "node:assert/strict";
import { test } from "node:test";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { request, testCall } from "../fixtures.ts";
import { testServices } from "./fixtures.ts";
import { importImages } from "./import-images.ts";

const { v1 } = crid.admin;

type Message = Parameters<typeof v1.ImportImagesRequest.encode>[0];

function importing(messages: Message[], services = testServices()) {
  async function* sent() {
    for (const message of messages) yield request(v1.ImportImagesRequest, message);
  }
  return Array.fromAsync(importImages(services)(sent(), testCall()));
}

test("the first message has the options, the others the archive", async () => {
  const services = testServices();
  const options = { name: "app:1", platform: "linux/arm/v7", allPlatforms: true };
  const answers = await importing(
    [{ options }, { data: Buffer.from("arch") }, { data: Buffer.alloc(0) }, { data: Buffer.from("ive") }],
    services,
  );
  const last = answers.at(-1);
  assert.ok(last !== undefined && !Buffer.isBuffer(last));
  assert.deepEqual(
    last.imported?.images?.map(({ id }) => id),
    ["sha256:abc"],
  );
  assert.equal(Buffer.concat(services.imported).toString(), "archive");
  assert.deepEqual(services.did, [["import", "app:1", { os: "linux", architecture: "arm", variant: "v7" }, true]]);
});

test("no options, or a platform that is none, is refused", async () => {
  await assert.rejects(importing([]), { kind: "invalid-argument", message: /options/ });
  await assert.rejects(importing([{ data: Buffer.from("x") }]), { kind: "invalid-argument" });
  for (const platform of ["arm", "linux/", "a/b/c/d"])
    await assert.rejects(importing([{ options: { platform } }]), { kind: "invalid-argument", message: /options\.platform/ });
});
