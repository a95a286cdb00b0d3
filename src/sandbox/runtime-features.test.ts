import assert from "node:assert/strict";
import { test } from "node:test";
import { parseFeatures } from "./runtime-features.ts";

test("reads what runc and crun print", () => {
  const full = { mountOptions: ["ro", "rro"], linux: { namespaces: ["user"], mountExtensions: { idmap: { enabled: true } } } };
  assert.deepEqual(parseFeatures(JSON.stringify(full), "runc"), { recursiveReadonly: true, userNamespaces: true });
  const old = { mountOptions: ["ro"], linux: { namespaces: ["user"] } };
  assert.deepEqual(parseFeatures(JSON.stringify(old), "runc"), { recursiveReadonly: false, userNamespaces: false });
  assert.deepEqual(parseFeatures("{}", "runc"), { recursiveReadonly: false, userNamespaces: false });
  assert.throws(() => parseFeatures("Usage: ...", "runc"), /runc features: its output is not JSON/);
});
