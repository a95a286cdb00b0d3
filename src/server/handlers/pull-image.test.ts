import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { pullImage } from "./pull-image.ts";

const { v1 } = runtime;

test("answers the image's id; credentials only where there are some", async () => {
  const node = testNode();
  const ask = async (auth: runtime.v1.AuthConfig.$Properties | null) =>
    pullImage(node)(request(v1.PullImageRequest, { image: { image: "nginx:1" }, auth }), testCall());
  assert.deepEqual(await ask(null), { imageRef: "sha256:abc" });
  await ask({ serverAddress: "https://registry.example" });
  await ask({ username: "u", password: "p" });
  const none = { auth: "", serverAddress: "", identityToken: "", registryToken: "" };
  assert.deepEqual(node.did, [
    ["pull", "nginx:1", undefined],
    ["pull", "nginx:1", undefined],
    ["pull", "nginx:1", { username: "u", password: "p", ...none }],
  ]);
});

test("needs an image", async () => {
  const run = async () => pullImage(testNode())(request(v1.PullImageRequest, {}), testCall());
  await assert.rejects(run, { kind: "invalid-argument", message: "image: is required" });
});
