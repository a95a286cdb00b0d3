import assert from "node:assert/strict";
import { test } from "node:test";
import { isKind } from "../base/errors.ts";
import { isQualifiedName, parseQualifiedName, requestedCdiDevices } from "./names.ts";

test("a qualified name is vendor, class and name", () => {
  assert.deepEqual(parseQualifiedName("vendor.com/gpu=0:1.a-b_c"), { vendor: "vendor.com", class: "gpu", name: "0:1.a-b_c" });
});

test("what is no qualified name", () => {
  for (const name of [
    "",
    "gpu0",
    "/dev/null",
    "vendor/gpu",
    "/gpu=0",
    "vendor/=0",
    "vendor/gpu=",
    "1v/gpu=0",
    "v/c/d=0",
    "v/c=0-",
    "v-/c=0",
    "v/c=ü",
  ]) {
    assert.equal(isQualifiedName(name), false, name);
  }
});

test("devices of the field come first, then those of annotations by key, each once", () => {
  const annotations = { "cdi.k8s.io/b": "v/c=3,v/c=1", "cdi.k8s.io/a": "v/c=2", "other.io/x": "not a device" };
  assert.deepEqual(requestedCdiDevices(["v/c=1", "v/c=0", "v/c=1"], annotations), ["v/c=1", "v/c=0", "v/c=2", "v/c=3"]);
});

test("an annotation that names no device is refused with its key", () => {
  assert.throws(
    () => requestedCdiDevices([], { "cdi.k8s.io/plugin": "v/c=1, v/c=2" }),
    (error) =>
      isKind(error, "invalid-argument") && error.message.startsWith('annotations["cdi.k8s.io/plugin"]: invalid CDI device name " v/c=2"'),
  );
});
