import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { version } from "./version.ts";

const { v1 } = runtime;

test("says what kubelet and crictl look for", async () => {
  const answer = await version(testNode())(request(v1.VersionRequest, {}), testCall());
  assert.deepEqual(answer, { version: "0.1.0", runtimeName: "crid", runtimeVersion: "1.2.3", runtimeApiVersion: "v1" });
});
