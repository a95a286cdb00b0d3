import assert from "node:assert/strict";
import { test } from "node:test";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { request, testCall } from "../fixtures.ts";
import { testServices } from "./fixtures.ts";
import { pullImage } from "./pull-image.ts";

const { v1 } = crid.admin;

test("answers the image; credentials only where there are some", async () => {
  const services = testServices();
  const pull = (message: Parameters<typeof v1.PullImageRequest.encode>[0]) =>
    Array.fromAsync(pullImage(services)(request(v1.PullImageRequest, message), testCall()));
  const [answer] = await pull({ ref: "nginx:1" });
  assert.ok(answer !== undefined && !Buffer.isBuffer(answer));
  assert.equal(answer.image?.id, "sha256:abc");
  await pull({ ref: "nginx:1", credentials: { username: "u", password: "p" } });
  const none = { auth: "", identityToken: "", registryToken: "" };
  assert.deepEqual(services.did, [
    ["pull", "nginx:1", undefined],
    ["pull", "nginx:1", { username: "u", password: "p", ...none }],
  ]);
  await pull({ ref: "nginx:1", platform: "linux/arm/v7" });
  assert.deepEqual(services.did.at(-1), ["pull", "nginx:1", undefined, { os: "linux", architecture: "arm", variant: "v7" }]);
  for (const platform of ["linux", "linux/", "a/b/c/d", "/x"])
    await assert.rejects(pull({ ref: "nginx:1", platform }), { kind: "invalid-argument" });
  await assert.rejects(pull({}), { kind: "invalid-argument" });
  await assert.rejects(pull({ ref: "not a name" }), { kind: "invalid-argument" });
});

test("tells how far the pull is, and at its end that all is there", async () => {
  const services = testServices();
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { images } = services;
  const blob = { digest: "sha256:b", state: "downloading" as const, size: 10 };
  let bytes = 3;
  const slow = {
    ...images,
    pull: async () => {
      await held;
      return images.list()[0] as never;
    },
    pulls: () => [{ ref: "docker.io/library/nginx:1", startedAtMs: 5, blobs: [{ ...blob, bytes }] }],
  };
  const seen: unknown[] = [];
  for await (const answer of pullImage({ images: slow })(request(v1.PullImageRequest, { ref: "nginx:1" }), testCall())) {
    assert.ok(!Buffer.isBuffer(answer));
    const part = answer.progress?.blobs?.[0];
    seen.push(part === undefined ? answer.image?.id : [part.state, part.bytes]);
    if (bytes === 7) release();
    bytes = 7;
  }
  assert.deepEqual(seen, [["downloading", 3n], ["downloading", 7n], ["done", 10n], "sha256:abc"]);
});

test("a caller that goes ends its pull", async () => {
  const services = testServices();
  const gone = new AbortController();
  let ended: unknown;
  const hanging = {
    ...services.images,
    pull: (_: string, o: { signal: AbortSignal }): Promise<never> =>
      new Promise((_resolve, reject) => {
        o.signal.addEventListener("abort", () => {
          ended = o.signal.reason;
          reject(o.signal.reason);
        });
      }),
  };
  setTimeout(() => gone.abort(new Error("gone")), 50);
  const pulling = Array.fromAsync(pullImage({ images: hanging })(request(v1.PullImageRequest, { ref: "a" }), testCall(gone.signal)));
  await assert.rejects(pulling, /gone/);
  assert.match(String(ended), /gone/);
});
