import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CridError } from "../base/errors.ts";
import { cgroupOf, containerCgroupPath, expandSlice, parentCgroupPath, parseProcCgroup, podCgroup } from "./paths.ts";

test("cgroupfs: below the pod's parent", () => {
  assert.equal(containerCgroupPath("/kubepods/burstable/pod1", "abc", "cgroupfs"), "/kubepods/burstable/pod1/abc");
  assert.equal(containerCgroupPath("", "abc", "cgroupfs"), "/crid/abc");
  assert.equal(containerCgroupPath("kubepods", "abc", "cgroupfs"), "/kubepods/abc");
  assert.equal(parentCgroupPath("/kubepods/pod1", "cgroupfs"), "/kubepods/pod1");
  assert.equal(cgroupOf("/kubepods/pod1/abc"), "/kubepods/pod1/abc");
});

test("systemd: a scope in the pod's slice", () => {
  const parent = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice";
  const path = containerCgroupPath(parent, "abc", "systemd");
  assert.equal(path, "kubepods-burstable-pod1.slice:crid:abc");
  assert.equal(cgroupOf(path), `${parent}/crid-abc.scope`);
  assert.equal(parentCgroupPath(parent, "systemd"), parent);
  assert.equal(cgroupOf(containerCgroupPath("", "abc", "systemd")), "/system.slice/crid-abc.scope");
  assert.equal(cgroupOf("-.slice:crid:abc"), "/crid-abc.scope");
  assert.equal(cgroupOf("a.slice:x:b.slice"), "/a.slice/b.slice");
});

test("a parent that is no slice is refused under systemd", () => {
  for (const parent of ["/kubepods", "/kubepods/pod1", "/a--b.slice", "/-a.slice", "/a-.slice", "/.slice", "/a:b.slice"]) {
    assert.throws(() => containerCgroupPath(parent, "abc", "systemd"), { kind: "invalid-argument" }, parent);
  }
});

test("slices expand as systemd nests them", () => {
  assert.equal(expandSlice("a.slice"), "/a.slice");
  assert.equal(expandSlice("a-b-c.slice"), "/a.slice/a-b.slice/a-b-c.slice");
  assert.equal(expandSlice("-.slice"), "/");
  fc.assert(
    fc.property(fc.string(), (name) => {
      try {
        assert.ok(expandSlice(name).endsWith(name) || name === "-.slice");
      } catch (error) {
        assert.ok(error instanceof CridError);
      }
    }),
  );
});

test("/proc/PID/cgroup of v1, hybrid and v2", () => {
  const hybrid = parseProcCgroup("4:memory:/a\n3:cpu,cpuacct:/b:c\n1:name=systemd:/\n0::/u\n");
  assert.equal(hybrid.v2, "/u");
  assert.deepEqual(
    [...hybrid.v1],
    [
      ["memory", "/a"],
      ["cpu", "/b:c"],
      ["cpuacct", "/b:c"],
      ["name=systemd", "/"],
    ],
  );
  assert.deepEqual(parseProcCgroup("0::/x/y\n"), { v1: new Map(), v2: "/x/y" });
  fc.assert(
    fc.property(fc.string(), (text) => {
      parseProcCgroup(text);
    }),
  );
});

test("a pod's own cgroup carries its uid", () => {
  assert.equal(podCgroup("u-1", "/kubepods/podu-1/abc"), "/kubepods/podu-1");
  assert.equal(podCgroup("u-1", "kubepods-podu_1.slice:crid:abc"), "/kubepods.slice/kubepods-podu_1.slice");
  assert.equal(podCgroup("u-1", "/shared/abc"), undefined);
  assert.equal(podCgroup("", "/shared/abc"), undefined);
});
