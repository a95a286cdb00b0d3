import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../base/log.ts";
import { NodeInfo } from "./node-info.ts";

test("readiness; handlers: the default also by no name; asked once, but again after a failure", async () => {
  const asked: string[] = [];
  let missing: string | undefined;
  const node = new NodeInfo({
    version: "1",
    cgroupDriver: "cgroupfs",
    writableLayers: "/x",
    cni: { status: () => ({ ready: true, reason: "", message: "" }), setPodCidr: () => {} },
    rememberPodCidr: () => {},
    defaultHandler: "runc",
    handlerNames: ["runc", "crun"],
    check: () => {
      if (missing !== undefined) throw new Error(missing);
    },
    probe: async (handler) => {
      asked.push(handler);
      if (handler === "crun") throw new Error("no crun");
      return { recursiveReadonly: true, userNamespaces: true };
    },
    verbose: async () => ({}),
    log: silentLogger(),
  });
  const yes = { recursiveReadOnlyMounts: true, userNamespaces: true };
  const no = { recursiveReadOnlyMounts: false, userNamespaces: false };
  assert.deepEqual(await node.handlers(), [
    { name: "", ...yes },
    { name: "runc", ...yes },
    { name: "crun", ...no },
  ]);
  await node.handlers();
  assert.equal(node.runtime().ready, true);
  missing = "no runc in PATH";
  assert.deepEqual(node.runtime(), { ready: false, reason: "RuntimeHandlerMissing", message: "no runc in PATH" });
  assert.deepEqual(asked, ["runc", "crun", "crun"]);
});
