import assert from "node:assert/strict";
import { test } from "node:test";
import { fromJson, toJson } from "../base/json.ts";
import { type ContainerAdjustment, v1 } from "../nri/messages.ts";
import { adjustSpec } from "./adjust-spec.ts";
import { criResourcesForPlugins, criResourcesOf, ociResourcesOf, overlayResources } from "./plugin-resources.ts";
import { specForPlugins } from "./plugin-view.ts";
import type { OciSpec } from "./spec.ts";

const host = { swapController: true, hugetlbController: true, minOomScoreAdj: -500 };

function spec(): OciSpec {
  return {
    ociVersion: "1.1.0",
    process: {
      terminal: false,
      user: { uid: 0, gid: 0, additionalGids: [] },
      args: ["sh"],
      env: ["PATH=/bin", "A=1", "B=2"],
      cwd: "/",
      capabilities: { bounding: [], effective: [], permitted: [], inheritable: [], ambient: [] },
      noNewPrivileges: false,
      rlimits: [{ type: "RLIMIT_NOFILE", hard: 10, soft: 10 }],
    },
    root: { path: "rootfs", readonly: false },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc", options: [] },
      { destination: "/etc/hosts", type: "bind", source: "/h", options: ["rbind"] },
    ],
    annotations: { keep: "1", go: "2" },
    linux: {
      namespaces: [{ type: "mount" }, { type: "ipc", path: "/proc/1/ns/ipc" }],
      cgroupsPath: "/own",
      resources: { devices: [{ allow: false, access: "rwm" }], memory: { limit: 1 }, cpu: { shares: 2, quota: 3 } },
      devices: [{ path: "/dev/old", type: "c", major: 1, minor: 3 }],
      maskedPaths: [],
      readonlyPaths: [],
    },
  };
}

/** Over the wire, so that what the test leaves out is as a plugin's message has it. */
const adjustment = (message: Parameters<typeof v1.ContainerAdjustment.encode>[0]): ContainerAdjustment =>
  v1.ContainerAdjustment.decode(v1.ContainerAdjustment.encode(message).finish());

test("everything that an adjustment names is set, and what it marks with a dash is gone", () => {
  const adjusted = spec();
  const change = adjustment({
    annotations: { new: "3", "-go": "" },
    env: [{ key: "A", value: "x=y" }, { key: "-B" }, { key: "C", value: "" }],
    args: ["echo", "hi"],
    mounts: [
      { destination: "/a/b", source: "/s", type: "bind", options: ["bind", "rslave"] },
      { destination: "/a", source: "tmpfs", type: "tmpfs" },
      { destination: "-/etc/hosts" },
    ],
    hooks: { createRuntime: [{ path: "/hook", args: ["hook", "1"], timeout: { value: 5n } }] },
    rlimits: [
      { type: "RLIMIT_MEMLOCK", hard: 2n ** 64n - 1n, soft: 5n },
      { type: "RLIMIT_NOFILE", hard: 20n, soft: 20n },
    ],
    linux: {
      devices: [
        { path: "/dev/new", type: "b", major: 7n, minor: 1n, fileMode: { value: 0o100660 }, gid: { value: 6 } },
        { path: "-/dev/old" },
      ],
      namespaces: [{ type: "-ipc" }, { type: "cgroup", path: "/ns" }],
      sysctl: { "net.core.somaxconn": "9" },
      netDevices: { eth9: { name: "net1" } },
      cgroupsPath: "/other",
      oomScoreAdj: { value: -900n },
      ioPriority: { class: v1.IOPrioClass.IOPRIO_CLASS_BE, priority: 3 },
      scheduler: { policy: v1.LinuxSchedulerPolicy.SCHED_BATCH, nice: 5, flags: [v1.LinuxSchedulerFlag.SCHED_FLAG_RESET_ON_FORK] },
      seccompPolicy: {
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [
          { names: ["clone"], action: "SCMP_ACT_ERRNO", errnoRet: { value: 1 }, args: [{ index: 0, value: 2n ** 63n, op: "SCMP_CMP_EQ" }] },
        ],
      },
      memoryPolicy: { mode: v1.MpolMode.MPOL_BIND, nodes: "0", flags: [v1.MpolFlag.MPOL_F_STATIC_NODES] },
      rdt: { schemata: { value: ["L3:0=f"] }, enableMonitoring: { value: true } },
      resources: {
        memory: { limit: { value: 64n }, swappiness: { value: 10n } },
        cpu: { shares: { value: 7n }, cpus: "0-1" },
        hugepageLimits: [{ pageSize: "2MB", limit: 4n }],
        unified: { "memory.high": "max" },
        pids: { limit: 9n },
      },
    },
  });
  adjustSpec(adjusted, change, { host, rdt: { settings: { closID: "gold" } }, blockIo: { settings: { weight: 50 } } });
  const { process, linux, mounts } = adjusted;
  assert.deepEqual(adjusted.annotations, { keep: "1", new: "3" });
  assert.deepEqual(process.env, ["PATH=/bin", "A=x=y", "C="]);
  assert.deepEqual(process.args, ["echo", "hi"]);
  assert.deepEqual(
    mounts.map(({ destination }) => destination),
    ["/proc", "/a", "/a/b"],
  );
  assert.equal(linux.rootfsPropagation, "rslave");
  assert.deepEqual(adjusted.hooks, { createRuntime: [{ path: "/hook", args: ["hook", "1"], timeout: 5 }] });
  assert.deepEqual(process.rlimits, [
    { type: "RLIMIT_MEMLOCK", hard: 2n ** 64n - 1n, soft: 5 },
    { type: "RLIMIT_NOFILE", hard: 20, soft: 20 },
  ]);
  assert.deepEqual(linux.devices, [{ path: "/dev/new", type: "b", major: 7, minor: 1, fileMode: 0o660, gid: 6 }]);
  assert.deepEqual(linux.namespaces, [{ type: "mount" }, { type: "cgroup", path: "/ns" }]);
  assert.deepEqual(
    [linux.sysctl, linux.netDevices, linux.cgroupsPath],
    [{ "net.core.somaxconn": "9" }, { eth9: { name: "net1" } }, "/other"],
  );
  assert.equal(process.oomScoreAdj, -500, "no lower than the daemon may set");
  assert.deepEqual(process.ioPriority, { class: "IOPRIO_CLASS_BE", priority: 3 });
  assert.deepEqual(process.scheduler, { policy: "SCHED_BATCH", nice: 5, flags: ["SCHED_FLAG_RESET_ON_FORK"] });
  assert.equal(linux.seccomp?.syscalls?.[0]?.args?.[0]?.value, 2n ** 63n);
  assert.deepEqual(linux.memoryPolicy, { mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES"] });
  assert.deepEqual(linux.intelRdt, { closID: "gold", schemata: ["L3:0=f"], enableMonitoring: true });
  assert.deepEqual(linux.resources, {
    devices: [
      { allow: false, access: "rwm" },
      { allow: true, type: "b", major: 7, minor: 1, access: "rwm" },
    ],
    memory: { limit: 64, swap: 64, swappiness: 10 },
    cpu: { shares: 7, quota: 3, cpus: "0-1" },
    hugepageLimits: [{ pageSize: "2MB", limit: 4 }],
    unified: { "memory.high": "max" },
    pids: { limit: 9 },
    blockIO: { weight: 50 },
  });
});

test("an adjustment that names nothing changes nothing", () => {
  const adjusted = spec();
  adjustSpec(adjusted, adjustment({ linux: { resources: {} } }), { host });
  assert.deepEqual(adjusted, spec());
});

test("a spec as plugins see it comes back as it was when it is set again", () => {
  const before = spec();
  const seen = specForPlugins(before);
  const message = v1.Container.decode(v1.Container.encode(seen).finish());
  assert.deepEqual(message.env, before.process.env);
  assert.deepEqual(
    message.rlimits.map(({ type, hard }) => [type, hard]),
    [["RLIMIT_NOFILE", 10n]],
  );
  const { resources } = message.linux ?? {};
  assert.ok(resources);
  assert.deepEqual(overlayResources({}, ociResourcesOf(resources, { ...host, swapController: false })), before.linux.resources);
});

test("the CRI's limits survive the way through a plugin", () => {
  const limits = {
    cpuPeriod: 100_000,
    cpuQuota: -1,
    cpuShares: 2,
    memoryLimitBytes: 64 << 20,
    memorySwapLimitBytes: 128 << 20,
    oomScoreAdj: 0,
    cpusetCpus: "0",
    cpusetMems: "",
    hugepageLimits: [{ pageSize: "2MB", limit: 0 }],
    unified: { "memory.high": "1" },
  };
  assert.deepEqual(criResourcesOf(criResourcesForPlugins(limits)), limits);
});

test("JSON: 64-bit numbers stay exact both ways, all else is as usual", () => {
  const text = toJson({ limit: 2n ** 64n - 1n, small: 5n, text: "a,18446744073709551615," });
  assert.equal(text, '{"limit":18446744073709551615,"small":5,"text":"a,18446744073709551615,"}');
  assert.deepEqual(fromJson(text), { limit: 2n ** 64n - 1n, small: 5, text: "a,18446744073709551615," });
  assert.deepEqual(fromJson('{"a":1.5,"b":[1e300]}'), { a: 1.5, b: [1e300] });
});
