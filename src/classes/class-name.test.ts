import assert from "node:assert/strict";
import { test } from "node:test";
import { classFromAnnotations } from "./class-name.ts";

test("the container's annotation, then the pod's for the container, then the pod's for all", () => {
  const podAnnotations: Record<string, string> = {
    "blockio.resources.beta.kubernetes.io/pod": "all",
    "blockio.resources.beta.kubernetes.io/container.main": "one",
    "rdt.resources.beta.kubernetes.io/pod": "gold",
  };
  const containerAnnotations: Record<string, string> = { "io.kubernetes.cri.blockio-class": "own" };
  const of = (kind: "blockio" | "rdt", container: string, own = {}) =>
    classFromAnnotations(kind, { container, containerAnnotations: own, podAnnotations });
  assert.equal(of("blockio", "main", containerAnnotations), "own");
  assert.equal(of("blockio", "main"), "one");
  assert.equal(of("blockio", "side"), "all");
  assert.equal(of("rdt", "main", containerAnnotations), "gold");
  assert.equal(of("blockio", "main", { "io.kubernetes.cri.blockio-class": "" }), "", "an empty one takes it out of the pod's class");
  assert.equal(classFromAnnotations("rdt", { container: "x", containerAnnotations: {}, podAnnotations: {} }), "");
});
