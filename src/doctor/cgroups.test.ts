import assert from "node:assert/strict";
import { test } from "node:test";
import { type CgroupFacts, checkCgroups } from "./cgroups.ts";

function verdicts(facts: Partial<Omit<CgroupFacts, "cgroups">> & { version?: 1 | 2; missing?: string } = {}): Record<string, string> {
  const { version = 2, missing, ...rest } = facts;
  const cgroups: CgroupFacts["cgroups"] = { version, has: (controller) => controller !== missing, detectDriver: () => "systemd" };
  const found = checkCgroups({ cgroups, configured: "auto", systemd: true, kubelet: undefined, ...rest });
  return Object.fromEntries(found.map(({ subject, verdict }) => [subject, verdict]));
}

test("v2 with systemd is fine", () => {
  assert.deepEqual(verdicts(), { "cgroup version": "ok", "cgroup controllers": "ok", "cgroup driver": "ok" });
});

test("v1 is a warning, unless the kubelet takes it", () => {
  assert.equal(verdicts({ version: 1 })["cgroup version"], "warning");
  assert.equal(verdicts({ version: 1, kubelet: { file: "k", failCgroupV1: true } })["cgroup version"], "warning");
  assert.equal(verdicts({ version: 1, kubelet: { file: "k", failCgroupV1: false } })["cgroup version"], "ok");
});

test("a missing controller, and systemd as driver without systemd, are failures", () => {
  assert.equal(verdicts({ missing: "memory" })["cgroup controllers"], "failure");
  assert.equal(verdicts({ configured: "systemd", systemd: false })["cgroup driver"], "failure");
});

test("the kubelet's driver should be crid's", () => {
  const subject = "cgroup driver of the kubelet";
  assert.equal(verdicts({ kubelet: { file: "k", cgroupDriver: "systemd" } })[subject], "ok");
  assert.equal(verdicts({ kubelet: { file: "k", cgroupDriver: "cgroupfs" } })[subject], "warning");
  assert.equal(verdicts({ kubelet: { file: "k" } })[subject], undefined);
});
