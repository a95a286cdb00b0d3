import assert from "node:assert/strict";
import { test } from "node:test";
import { isKind } from "../base/errors.ts";
import { DEFAULT_CAPABILITIES } from "./capabilities.ts";
import { defaultSeccomp, type SeccompInput, seccompFor } from "./seccomp.ts";

function input(change: Partial<SeccompInput>): SeccompInput {
  return {
    profile: { type: "runtime-default", localhostRef: "" },
    privileged: false,
    available: true,
    bounding: DEFAULT_CAPABILITIES,
    arch: "x64",
    readProfile: () => assert.fail("not asked for"),
    ...change,
  };
}

const allowed = (bounding: readonly string[]): Set<string> => new Set(defaultSeccomp(bounding, "x64").syscalls?.[0]?.names);

test("the default profile refuses what reaches the kernel's inside and allows what programs need", () => {
  const calls = allowed(DEFAULT_CAPABILITIES);
  for (const name of ["read", "openat2", "clone", "chroot", "ptrace", "futex_waitv", "arch_prctl"]) {
    assert.equal(calls.has(name), name !== "clone", name);
  }
  for (const name of [
    "mount",
    "bpf",
    "keyctl",
    "add_key",
    "io_uring_setup",
    "userfaultfd",
    "reboot",
    "kexec_load",
    "open_by_handle_at",
    "socket",
  ]) {
    assert.ok(!calls.has(name), name);
  }
});

test("capabilities open their calls", () => {
  const admin = defaultSeccomp(["CAP_SYS_ADMIN"], "x64");
  const names = admin.syscalls?.[0]?.names ?? [];
  assert.ok(names.includes("mount") && names.includes("clone3"));
  assert.ok(!admin.syscalls?.some(({ errnoRet }) => errnoRet !== undefined), "clone3 does not fail with ENOSYS");
  assert.ok(allowed(["CAP_SYS_TIME"]).has("clock_settime"));
});

test("AF_ALG and AF_VSOCK are no socket families", () => {
  const rules = defaultSeccomp([], "x64").syscalls?.filter(({ names }) => names[0] === "socket") ?? [];
  assert.deepEqual(
    rules.map(({ args }) => [args?.[0]?.op, args?.[0]?.value]),
    [["SCMP_CMP_LT", 38], ...[39, 41, 42, 43, 44, 45].map((family) => ["SCMP_CMP_EQ", family])],
  );
});

test("unconfined, privileged and unset mean no filter; asking for one without kernel support fails", () => {
  assert.equal(seccompFor(input({ profile: { type: "unconfined", localhostRef: "" } })), undefined);
  assert.equal(seccompFor(input({ privileged: true })), undefined);
  assert.equal(seccompFor(input({ profile: undefined, available: false })), undefined);
  assert.throws(
    () => seccompFor(input({ available: false })),
    (error) => isKind(error, "failed-precondition"),
  );
});

test("localhost profiles are read and looked at", () => {
  const profile = { type: "localhost", localhostRef: "localhost//p.json" } as const;
  const read = (text: string) => seccompFor(input({ profile, readProfile: (path) => (path === "/p.json" ? text : assert.fail(path)) }));
  assert.deepEqual(read('{"defaultAction":"SCMP_ACT_ALLOW"}'), { defaultAction: "SCMP_ACT_ALLOW" });
  for (const bad of ["{", "[]", "null", '{"defaultAction":1}'])
    assert.throws(
      () => read(bad),
      (error) => isKind(error, "invalid-argument"),
      bad,
    );
});
