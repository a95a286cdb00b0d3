import assert from "node:assert/strict";
import { test } from "node:test";
import type { SelinuxOptions } from "../records/pod-config.ts";
import { containerLabels, freeLevel, levelOf, parseContexts, podLabels } from "./selinux.ts";

// As container-selinux 2.230 has it.
const contexts = parseContexts(`# Licence
process = "system_u:system_r:container_t:s0"
content = "system_u:object_r:virt_var_lib_t:s0"
; comment
file = "system_u:object_r:container_file_t:s0"
ro_file="system_u:object_r:container_ro_file_t:s0"
init_process = "system_u:system_r:container_init_t:s0"
`);
const options = (change: Partial<SelinuxOptions>): SelinuxOptions => ({ user: "", role: "", type: "", level: "", ...change });
const level = "s0:c12,c345";

test("the policy's contexts are read; one that lacks any has none", () => {
  assert.deepEqual(contexts, { process: "system_u:system_r:container_t:s0", file: "system_u:object_r:container_file_t:s0" });
  assert.deepEqual(parseContexts("process = x"), { process: "", file: "" });
  assert.deepEqual(parseContexts("\u0000\n===\n= =\nfile"), { process: "", file: "" });
});

test("a pod gets the policy's types and categories of its own", () => {
  assert.deepEqual(podLabels(undefined, contexts, level), {
    process: "system_u:system_r:container_t:s0:c12,c345",
    mount: "system_u:object_r:container_file_t:s0:c12,c345",
  });
});

test("what a pod asks for: user and level reach its files, role and type do not", () => {
  assert.deepEqual(podLabels(options({ user: "u_u", role: "r_r", type: "spc_t", level: "s0:c1,c2" }), contexts, level), {
    process: "u_u:r_r:spc_t:s0:c1,c2",
    mount: "u_u:object_r:container_file_t:s0:c1,c2",
  });
  assert.deepEqual(podLabels(options({ type: "svirt_lxc_t" }), contexts, level)?.process, "system_u:system_r:svirt_lxc_t:s0:c12,c345");
  for (const bad of ["s0:c1,", "x", "s0:c1c2", "s0:c12345", 's0"', "s0,c1"]) {
    assert.throws(() => podLabels(options({ level: bad }), contexts, ""), { kind: "invalid-argument" }, bad);
  }
  assert.throws(() => podLabels(options({ type: "a:b" }), contexts, ""), { kind: "invalid-argument" });
});

test("a container has its pod's labels, with its own wishes over them", () => {
  const pod = podLabels(options({ user: "u_u" }), contexts, level)?.process ?? "";
  assert.deepEqual(containerLabels(undefined, contexts, pod), {
    process: "u_u:system_r:container_t:s0:c12,c345",
    mount: "u_u:object_r:container_file_t:s0:c12,c345",
  });
  assert.deepEqual(containerLabels(options({ type: "container_init_t" }), contexts, pod), {
    process: "u_u:system_r:container_init_t:s0:c12,c345",
    mount: "u_u:object_r:container_file_t:s0:c12,c345",
  });
  assert.equal(containerLabels(options({ level: "s0:c7" }), contexts, pod)?.mount, "u_u:object_r:container_file_t:s0:c7");
});

test("without SELinux there is no label; without a container policy only where one is asked for; without MCS no level", () => {
  assert.equal(podLabels(options({ type: "x_t" }), undefined, level), undefined);
  assert.equal(containerLabels(options({ type: "x_t" }), undefined, ""), undefined);
  const none = { process: "", file: "" };
  assert.equal(podLabels(undefined, none, level), undefined);
  assert.equal(podLabels(options({ type: "x_t" }), none, level)?.process, "system_u:system_r:x_t:s0:c12,c345");
  const targeted = { process: "system_u:system_r:container_t", file: "system_u:object_r:container_file_t" };
  assert.equal(podLabels(undefined, targeted, level)?.process, "system_u:system_r:container_t");
});

test("levels: the smaller category first, none twice, never two alike", () => {
  const numbers = [5, 5, 9, 3, 9, 3, 1, 2];
  const next = (): number => numbers.shift() ?? assert.fail("asked too often");
  assert.equal(freeLevel(new Set(["s0:c3,c9"]), next), "s0:c1,c2");
  const used = new Set<string>();
  for (let i = 0; i < 2000; i++) used.add(freeLevel(used));
  assert.equal(used.size, 2000);
  for (const one of used) {
    const [, a, b] = /^s0:c(\d+),c(\d+)$/.exec(one) ?? [];
    assert.ok(Number(a) < Number(b) && Number(b) < 1024, one);
  }
  assert.throws(
    () =>
      freeLevel(
        new Set(["s0:c0,c1"]),
        (() => {
          let n = 0;
          return () => n++ % 2;
        })(),
      ),
    { kind: "resource-exhausted" },
  );
  assert.equal(levelOf("u:r:t:s0:c1,c2"), "s0:c1,c2");
  assert.equal(levelOf("u:r:t"), "");
});
