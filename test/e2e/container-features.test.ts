import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { runtime } from "../../api/cri/runtime/v1/api.js";
import { runWithInput } from "./support/commands.ts";
import { features, grouped } from "./support/feature-rows.ts";
import { type Asked, FeatureBed, type FeaturePod } from "./support/features.ts";
import { TestNode } from "./support/node.ts";
import { busybox } from "./support/pods.ts";

const { NamespaceMode, MountPropagation, SecurityProfile, Signal } = runtime.v1;
const { ProfileType } = SecurityProfile;
const id = (value: number) => ({ value: BigInt(value) });

let node: TestNode;
let bed: FeatureBed;
let usual: FeaturePod;
let privileged: FeaturePod;
let onHost: FeaturePod;
let shared: string;

before(async () => {
  node = new TestNode();
  node.mergeConfig({
    container: { rlimits: { nproc: "5000:6000" } },
    runtime: {
      handlers: {
        runc: {
          ...(node.config.runtime as { handlers: { runc: object } }).handlers.runc,
          podAnnotations: ["e2e.pod.*"],
          containerAnnotations: ["e2e.own/*"],
        },
      },
    },
  });
  await node.start({ softOpenFiles: 777 });
  for (const image of [busybox, grouped]) await node.crictl("pull", image);
  bed = new FeatureBed(node);
  const node3 = { network: NamespaceMode.NODE, pid: NamespaceMode.NODE, ipc: NamespaceMode.NODE };
  usual = await bed.pod(
    { sysctls: { "net.ipv4.ip_local_port_range": "2000\t3000", "kernel.shm_rmid_forced": "1" } },
    { annotations: { "e2e.pod.a": "1", "e2e.pod.b/c": "2", other: "3" } },
  );
  privileged = await bed.pod({ securityContext: { privileged: true } });
  onHost = await bed.pod({ securityContext: { namespaceOptions: node3 } });
  // A mount that others can follow, as the host's root is on a node.
  shared = join(node.directory, "shared");
  mkdirSync(shared);
  execFileSync("mount", ["--bind", shared, shared]);
  execFileSync("mount", ["--make-shared", shared]);
});

after(async () => {
  bed[Symbol.dispose]();
  execFileSync("umount", ["-R", "-l", shared]);
  await node.close();
});

test("what a container may ask for, one by one", async (t) => {
  const sharedPid = await bed.pod({ securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } });
  const pods = { usual, privileged, onHost, sharedPid };
  for (const [name, { in: which = "usual", expect, ...asked }] of Object.entries(features)) {
    await t.test(name, async () => {
      const { output } = await bed.run(pods[which], asked);
      if (expect instanceof RegExp) assert.match(output, expect);
      else assert.equal(output, typeof expect === "string" ? expect : expect(pods[which]));
    });
  }
});

test("a seccomp profile of a file", async () => {
  const profile = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO" }] };
  const file = join(node.directory, "profile.json");
  writeFileSync(file, JSON.stringify(profile));
  const seccomp = (localhostRef: string) => ({ seccomp: { profileType: ProfileType.Localhost, localhostRef } });
  const { output } = await bed.run(usual, { script: "mkdir /new && echo made; touch /file && echo touched", security: seccomp(file) });
  assert.equal(output, "touched");
  await assert.rejects(bed.create(usual, { security: seccomp(`${file}.none`) }), /profile\.json\.none/);
});

test("the pid namespace of another container of the pod", async () => {
  const target = await bed.start(usual, { container: { command: ["sleep", "1234"] } });
  const namespaceOptions = { pid: NamespaceMode.TARGET, targetId: target };
  const { output } = await bed.run(usual, { container: { command: ["cat", "/proc/1/cmdline"] }, security: { namespaceOptions } });
  assert.equal(output, "sleep\0" + "1234\0");
  await bed.cri.removeContainer({ containerId: target });
});

test("mounts: propagation, and read-only with all that is below", async () => {
  const { PROPAGATION_PRIVATE, PROPAGATION_HOST_TO_CONTAINER, PROPAGATION_BIDIRECTIONAL } = MountPropagation;
  const mount = (containerPath: string, propagation: runtime.v1.MountPropagation, more: object = {}) => ({
    hostPath: shared,
    containerPath,
    propagation,
    ...more,
  });
  for (const name of ["host", "inside", "below"]) mkdirSync(join(shared, name));
  execFileSync("mount", ["-t", "tmpfs", "below", join(shared, "below")]);
  const container = await bed.start(privileged, {
    security: { privileged: true },
    container: {
      mounts: [
        mount("/private", PROPAGATION_PRIVATE),
        mount("/follows", PROPAGATION_HOST_TO_CONTAINER),
        mount("/both", PROPAGATION_BIDIRECTIONAL),
        mount("/readonly", PROPAGATION_PRIVATE, { readonly: true }),
        mount("/all-readonly", PROPAGATION_PRIVATE, { readonly: true, recursiveReadOnly: true }),
      ],
    },
  });
  execFileSync("mount", ["-t", "tmpfs", "host", join(shared, "host")]);
  await bed.exec(container, "mount", "-t", "tmpfs", "inside", "/both/inside");
  const mounts = await bed.exec(container, "cat", "/proc/mounts");
  const seen = (source: string): string[] => [...mounts.matchAll(new RegExp(`^${source} (\\S+)`, "gm"))].map(([, at]) => at ?? "").sort();
  assert.deepEqual(seen("host"), ["/both/host", "/follows/host"]);
  assert.deepEqual(seen("inside"), ["/both/inside", "/follows/inside"]);
  assert.match(readFileSync("/proc/self/mounts", "utf8"), new RegExp(`^inside ${shared}/inside`, "m"));

  const writes = async (path: string): Promise<boolean> =>
    bed.exec(container, "touch", path).then(
      () => true,
      () => false,
    );
  assert.deepEqual(
    [
      await writes("/readonly/x"),
      await writes("/readonly/below/x"),
      await writes("/all-readonly/x"),
      await writes("/all-readonly/below/x"),
    ],
    [false, true, false, false],
  );
  await bed.cri.removeContainer({ containerId: container });
  // Bidirectional is for privileged containers, and for what is shared on the host.
  const alone = join(node.directory, "alone");
  mkdirSync(alone);
  execFileSync("mount", ["-t", "tmpfs", "alone", alone]);
  execFileSync("mount", ["--make-private", alone]);
  const refused = {
    container: { mounts: [{ hostPath: alone, containerPath: "/x", propagation: PROPAGATION_BIDIRECTIONAL }] },
    security: { privileged: true },
  };
  await assert.rejects(bed.create(privileged, refused), /shared/);
  execFileSync("umount", [alone]);
});

test("how containers end: stop signals, the grace, exit codes, the log's tags", async () => {
  const trap = { script: "trap 'echo usr; exit 42' USR1; trap 'echo term; exit 43' TERM; echo up; while :; do sleep 0.05; done" };
  const ready = async (containerId: string): Promise<void> => {
    const { status } = await bed.cri.containerStatus({ containerId });
    for (let i = 0; i < 200 && !existsSync(status?.logPath ?? ""); i++) await new Promise((resolve) => setTimeout(resolve, 20));
    for (let i = 0; i < 200 && !readFileSync(status?.logPath ?? "", "utf8").includes("up"); i++)
      await new Promise((resolve) => setTimeout(resolve, 20));
  };
  const stopped = async (asked: Asked, timeout: bigint): Promise<{ code: unknown; ms: number; reason: unknown }> => {
    const containerId = await bed.start(usual, asked);
    await ready(containerId);
    const began = performance.now();
    await bed.cri.stopContainer({ containerId, timeout });
    const { exitCode, reason } = await bed.exited(containerId);
    await bed.cri.removeContainer({ containerId });
    return { code: exitCode, reason, ms: performance.now() - began };
  };
  const withUsr = await stopped({ ...trap, container: { stopSignal: Signal.SIGNAL_SIGUSR1 } }, 20n);
  assert.deepEqual([withUsr.code, withUsr.reason], [42, "Error"]);
  assert.equal((await stopped(trap, 20n)).code, 43);
  // Longer than a timer of Node takes.
  const slowly = { script: "trap 'sleep 0.5; exit 44' TERM; echo up; while :; do sleep 0.05; done" };
  assert.equal((await stopped(slowly, 3_000_000n)).code, 44, "a grace period of a month");
  const deaf = await stopped({ script: "trap '' TERM; echo up; while :; do sleep 0.05; done" }, 1n);
  assert.equal(deaf.code, 137);
  assert.ok(deaf.ms >= 1000 && deaf.ms < 15_000, `${deaf.ms} ms`);
  const atOnce = await stopped({ script: "trap '' TERM; echo up; while :; do sleep 0.05; done" }, 0n);
  assert.equal(atOnce.code, 137);

  for (const [script, code] of [
    ["exit 3", 3],
    ["kill -SEGV $$", 139],
    ["kill -9 $$", 137],
  ] as const) {
    // A process that is pid 1 of a namespace is spared its own signals.
    assert.equal((await bed.run(onHost, { script })).status.exitCode, code, script);
  }
  const long = await bed.run(usual, { script: "head -c 20000 /dev/zero | tr '\\0' a; echo; echo short; printf unended" });
  assert.deepEqual(
    long.log
      .trimEnd()
      .split("\n")
      .map((line) => line.split(" ").slice(1, 3).join(" ")),
    ["stdout P", "stdout F", "stdout F", "stdout P"].map((tag, i) => (i === 3 ? lastTag(long.log) : tag)),
  );
  assert.equal(long.output.length, 20_000 + "\nshort\nunended".length);
});

/** A last line without an end may be a part or a line: kubectl shows both alike. */
function lastTag(log: string): string {
  const tag = log.trimEnd().split("\n").at(-1)?.split(" ").slice(1, 3).join(" ") ?? "";
  assert.match(tag, /^stdout [PF]$/);
  return tag;
}

test("stdin once: the first client's end is the input's end", async () => {
  const container = await bed.start(usual, { script: "cat; echo end", container: { stdin: true, stdinOnce: true } });
  const input = node.file("input", "from the client\n");
  writeFileSync(input, "from the client\n");
  const attached = await runWithInput(
    join(import.meta.dirname, "../../.tools/bin/crictl"),
    ["-r", `unix://${node.socket}`, "attach", "-i", container],
    input,
  );
  const { logPath } = await bed.exited(container);
  assert.match(readFileSync(logPath ?? "", "utf8"), /stdout F from the client\n.* stdout F end\n/, attached.stderr);
  await bed.cri.removeContainer({ containerId: container });
});

test("what the status and the spec say: user, mounts with the image's digest, annotations passed on, runc's failures by code", async () => {
  const container = await bed.start(usual, {
    security: { runAsUser: id(33) },
    container: {
      annotations: { "e2e.own/x": "4", "e2e.own": "5" },
      mounts: [{ containerPath: "/volume", image: { image: busybox }, imageSubPath: "bin", readonly: true }],
    },
  });
  const { status } = await bed.cri.containerStatus({ containerId: container });
  assert.deepEqual([status?.user?.linux?.uid, status?.user?.linux?.gid], [33n, 33n]);
  const [mount] = status?.mounts ?? [];
  assert.equal(mount?.imageSubPath, "bin");
  assert.match(mount?.image?.imageRef ?? "", /^(.*@)?sha256:[0-9a-f]{64}$/);
  const { annotations } = (await bed.inspect(container)).runtimeSpec;
  const passed = Object.entries(annotations).filter(([key]) => !key.startsWith("io.kubernetes.cri."));
  assert.deepEqual(Object.fromEntries(passed), { "e2e.pod.a": "1", "e2e.own/x": "4" });
  await bed.cri.removeContainer({ containerId: container });

  const missing = await bed.create(usual, { container: { command: ["/no/such/program"] } });
  await assert.rejects(bed.cri.startContainer({ containerId: missing }), /INVALID_ARGUMENT: .*runc create failed: .*\/no\/such\/program/);
  const failed = await bed.exited(missing);
  assert.deepEqual([failed.exitCode, failed.reason], [128, "StartError"]);
  await bed.cri.removeContainer({ containerId: missing });
});

test("a resize in place, up and down, is in the cgroup, the spec and the status, also after a restart of the daemon", async () => {
  const mib = (count: number): bigint => BigInt(count) << 20n;
  const containerId = await bed.start(usual, {
    resources: { memoryLimitInBytes: mib(64), memorySwapLimitInBytes: mib(96), cpuQuota: 20_000n, cpuPeriod: 100_000n, cpuShares: 100n },
  });
  const memory = () => bed.cgroupFile(containerId, "memory", "memory.limit_in_bytes", "memory.max");
  const quota = async () => (await bed.cgroupFile(containerId, "cpu", "cpu.cfs_quota_us", "cpu.max")).split(" ")[0];
  const v1 = !existsSync("/sys/fs/cgroup/cgroup.controllers");
  const swap = () => bed.cgroupFile(containerId, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
  assert.deepEqual([await memory(), await quota(), await swap()], [`${mib(64)}`, "20000", `${v1 ? mib(96) : mib(32)}`]);
  const resized = async (linux: runtime.v1.LinuxContainerResources.$Properties): Promise<void> => {
    await bed.cri.updateContainerResources({ containerId, linux });
  };
  for (const size of [128, 32, 48]) {
    await resized({
      memoryLimitInBytes: mib(size),
      memorySwapLimitInBytes: mib(size),
      cpuQuota: BigInt(size) * 1000n,
      cpuPeriod: 100_000n,
      cpuShares: BigInt(size) * 10n,
    });
    assert.deepEqual([await memory(), await quota()], [`${mib(size)}`, `${size}000`]);
  }
  // What is not said stays.
  await resized({ cpuShares: 777n });
  await assert.rejects(resized({ memoryLimitInBytes: 4096n }), /memory/);
  const check = async (): Promise<void> => {
    assert.deepEqual([await memory(), await quota()], [`${mib(48)}`, "48000"]);
    const { status } = await bed.cri.containerStatus({ containerId });
    const linux = status?.resources?.linux;
    assert.deepEqual(
      [linux?.memoryLimitInBytes, linux?.cpuQuota, linux?.cpuShares, linux?.memorySwapLimitInBytes],
      [mib(48), 48_000n, 777n, mib(48)],
    );
    const { resources } = (await bed.inspect(containerId)).runtimeSpec.linux as { resources: { cpu: object; memory: object } };
    assert.deepEqual(
      [resources.cpu, resources.memory],
      [
        { shares: 777, quota: 48_000, period: 100_000 },
        { limit: 48 << 20, swap: 48 << 20 },
      ],
    );
  };
  await check();
  const overhead = { cpuShares: 11n, memoryLimitInBytes: mib(5) };
  await bed.cri.updatePodSandboxResources({ podSandboxId: usual.id, overhead, resources: { cpuShares: 22n } });
  bed[Symbol.dispose]();
  await node.stop();
  await node.start({ softOpenFiles: 777 });
  bed = new FeatureBed(node);
  await check();
  await bed.cri.removeContainer({ containerId });
});
