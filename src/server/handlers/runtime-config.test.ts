import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { runtimeConfig } from "./runtime-config.ts";

const { v1 } = runtime;

test("tells the cgroup driver", async () => {
  const node = testNode();
  const ask = async (cgroupDriver: "systemd" | "cgroupfs") =>
    runtimeConfig({ node: { ...node.node, cgroupDriver } })(request(v1.RuntimeConfigRequest, {}), testCall());
  assert.deepEqual(await ask("systemd"), { linux: { cgroupDriver: v1.CgroupDriver.SYSTEMD } });
  assert.deepEqual(await ask("cgroupfs"), { linux: { cgroupDriver: v1.CgroupDriver.CGROUPFS } });
});
