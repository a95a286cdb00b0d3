import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { imageMethods, runtimeMethods } from "../grpc-services.ts";
import { imageHandlers, runtimeHandlers } from "./handlers.ts";
import { unimplementedRpcs } from "./unimplemented.ts";

const { v1 } = runtime;

test("every RPC has a handler", () => {
  assert.deepEqual(new Set(Object.keys(runtimeHandlers(testNode()))), new Set(Object.keys(runtimeMethods)));
  assert.deepEqual(new Set(Object.keys(imageHandlers(testNode()))), new Set(Object.keys(imageMethods)));
});

test("those that crid does not have say so", async () => {
  const handlers = runtimeHandlers(testNode());
  const requests = {
    CheckpointContainer: () => handlers.CheckpointContainer(request(v1.CheckpointContainerRequest, {}), testCall()),
    CheckpointPod: () => handlers.CheckpointPod(request(v1.CheckpointPodRequest, {}), testCall()),
    RestorePod: () => handlers.RestorePod(request(v1.RestorePodRequest, {}), testCall()),
  };
  for (const name of unimplementedRpcs) {
    await assert.rejects(async () => requests[name](), { kind: "unimplemented", message: new RegExp(`^${name}: `) });
  }
});
