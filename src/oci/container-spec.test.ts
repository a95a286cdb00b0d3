import assert from "node:assert/strict";
import { test } from "node:test";
import type { ContainerConfig, ContainerSecurity } from "../records/container-config.ts";
import type { PodConfig, PodSecurity } from "../records/pod-config.ts";
import { type ContainerSpecInput, containerSpec } from "./container-spec.ts";
import { execProcess } from "./exec-process.ts";
import { containerConfigFixture, imageConfigFixture, NO_RESOURCES, podConfigFixture, specHostFixture } from "./fixtures.ts";
import { podSpec } from "./pod-spec.ts";

interface Change {
  config?: Partial<ContainerConfig>;
  security?: Partial<ContainerSecurity>;
  podSecurity?: Partial<PodSecurity>;
  input?: Partial<ContainerSpecInput>;
}

function specOf(change: Change = {}) {
  const config = containerConfigFixture(change.config);
  const pod = podConfigFixture();
  return containerSpec({
    config: { ...config, security: { ...config.security, ...change.security } },
    image: imageConfigFixture(),
    imageName: "busybox:1",
    pod: {
      id: "p1",
      config: { ...pod, security: { ...pod.security, ...change.podSecurity } },
      pausePid: 42,
      hostname: "h",
      selinuxLabel: "",
    },
    user: { uid: 0, gid: 0, additionalGids: [0] },
    cgroupsPath: "/kubepods/c1",
    annotations: {},
    binds: [],
    extra: [],
    devices: [],
    hostDevices: [],
    host: specHostFixture(),
    readSeccompProfile: () => assert.fail("not asked for"),
    apparmorLoaded: () => false,
    ...change.input,
  }).spec;
}

const ns = (spec: ReturnType<typeof specOf>): Record<string, string | undefined> =>
  Object.fromEntries(spec.linux.namespaces.map(({ type, path }) => [type, path]));

test("the ordinary container joins the pod's namespaces but for mount and pid", () => {
  const spec = specOf();
  assert.deepEqual(ns(spec), {
    mount: undefined,
    network: "/proc/42/ns/net",
    uts: "/proc/42/ns/uts",
    ipc: "/proc/42/ns/ipc",
    pid: undefined,
  });
  assert.equal(spec.annotations["io.kubernetes.cri.sandbox-id"], "p1");
  assert.equal(spec.process.oomScoreAdj, 0);
  assert.deepEqual(spec.process.capabilities.inheritable, []);
});

test("pid namespace: pod, target, node", () => {
  const pid = (mode: "pod" | "target" | "node", pod: "pod" | "node" = "pod") =>
    ns(
      specOf({
        security: { namespaces: { network: "pod", pid: mode, ipc: "pod", targetId: "" } },
        podSecurity: { namespaces: { network: "pod", pid: pod, ipc: "pod", targetId: "" } },
        input: { targetPid: 99 },
      }),
    );
  assert.equal(pid("pod").pid, "/proc/42/ns/pid");
  assert.equal(pid("target").pid, "/proc/99/ns/pid");
  assert.ok(!("pid" in pid("node", "node")));
});

test("host network: neither network nor uts is joined", () => {
  const namespaces = { network: "node", pid: "container", ipc: "node", targetId: "" } as const;
  assert.deepEqual(Object.keys(ns(specOf({ security: { namespaces }, podSecurity: { namespaces } }))), ["mount", "pid"]);
});

test("a user namespace is the pod's, with its maps, and must be the same for both", () => {
  const userns = {
    mode: "pod" as const,
    uids: [{ hostId: 65536, containerId: 0, length: 65536 }],
    gids: [{ hostId: 65536, containerId: 0, length: 65536 }],
  };
  const namespaces = { network: "pod", pid: "container", ipc: "pod", targetId: "", userns } as const;
  const spec = specOf({ security: { namespaces }, podSecurity: { namespaces } });
  assert.equal(ns(spec).user, "/proc/42/ns/user");
  assert.deepEqual(spec.linux.uidMappings, [{ containerID: 0, hostID: 65536, size: 65536 }]);
  assert.throws(() => specOf({ security: { namespaces } }), /differs from that of the pod/);
});

test("privileged: everything open, but only in a privileged pod", () => {
  assert.throws(() => specOf({ security: { privileged: true } }), /no privileged container allowed in sandbox/);
  const spec = specOf({
    security: {
      privileged: true,
      maskedPaths: ["/proc/kcore"],
      readonlyPaths: ["/proc/sys"],
      seccomp: { type: "runtime-default", localhostRef: "" },
    },
    podSecurity: { privileged: true },
    input: { hostDevices: [{ path: "/dev/fuse", type: "c", major: 10, minor: 229, mode: 0o666, uid: 0, gid: 0 }] },
  });
  assert.deepEqual(spec.linux.maskedPaths, []);
  assert.equal(spec.linux.seccomp, undefined);
  assert.deepEqual(spec.linux.resources.devices, [{ allow: true, access: "rwm" }]);
  assert.equal(spec.linux.devices?.[0]?.path, "/dev/fuse");
  assert.deepEqual(spec.process.capabilities.bounding, specHostFixture().bounding);
});

test("cgroup namespace: on v2, unless privileged", () => {
  assert.ok("cgroup" in ns(specOf({ input: { host: specHostFixture({ cgroupVersion: 2 }) } })));
  assert.ok(!("cgroup" in ns(specOf())));
});

test("capabilities: ALL before names; outside the bounding set is an error", () => {
  const caps = (add: string[], drop: string[]) =>
    specOf({ security: { capabilities: { add, drop, addAmbient: [] } } }).process.capabilities;
  assert.deepEqual(caps(["NET_BIND_SERVICE"], ["all"]).bounding, ["CAP_NET_BIND_SERVICE"]);
  assert.deepEqual(
    caps(["ALL"], ["CHOWN"]).effective,
    specHostFixture().bounding.filter((name) => name !== "CAP_CHOWN"),
  );
  assert.ok(caps(["net_admin"], []).permitted.includes("CAP_NET_ADMIN"));
  assert.throws(() => caps(["SYS_RESOURCE"], []), /CAP_SYS_RESOURCE/);
  assert.deepEqual(specOf({ security: { capabilities: { add: [], drop: [], addAmbient: ["NET_ADMIN"] } } }).process.capabilities.ambient, [
    "CAP_NET_ADMIN",
  ]);
});

test("resources: unset ones are left out, swap follows memory, the oom score is clamped", () => {
  const resources = { ...NO_RESOURCES, cpuShares: 512, memoryLimitBytes: 1 << 20, oomScoreAdj: -998, unified: { "memory.high": "1" } };
  const spec = specOf({ config: { resources }, input: { host: specHostFixture({ minOomScoreAdj: 0 }) } });
  assert.deepEqual(spec.linux.resources.cpu, { shares: 512 });
  assert.deepEqual(spec.linux.resources.memory, { limit: 1 << 20, swap: 1 << 20 });
  assert.equal(spec.process.oomScoreAdj, 0);
  assert.equal(specOf().linux.resources.memory, undefined);
});

test("apparmor: asked for and not in the kernel is an error; the default then means none", () => {
  const spec = specOf();
  assert.equal(spec.process.apparmorProfile, undefined);
  assert.throws(() => specOf({ security: { apparmor: { type: "localhost", localhostRef: "x" } } }), /apparmor is not supported/);
  const host = specHostFixture({ apparmor: true });
  assert.throws(
    () => specOf({ security: { apparmor: { type: "localhost", localhostRef: "x" } }, input: { host } }),
    /apparmor profile not found x/,
  );
  assert.equal(specOf({ input: { host, apparmorLoaded: () => true } }).process.apparmorProfile, "crid-default");
});

test("devices: paths below the container path, with their rules", () => {
  const node = { type: "c", major: 1, minor: 3, mode: 0o666, uid: 0, gid: 6 } as const;
  const spec = specOf({
    input: {
      devices: [{ hostPath: "/dev/snd", containerPath: "/dev/audio", permissions: "rw", nodes: [{ ...node, path: "/dev/snd/pcm" }] }],
    },
  });
  assert.equal(spec.linux.devices?.[0]?.path, "/dev/audio/pcm");
  assert.deepEqual(spec.linux.resources.devices, [
    { allow: false, access: "rwm" },
    { allow: true, type: "c", major: 1, minor: 3, access: "rw" },
  ]);
});

test("exec: the container's process with another command", () => {
  const { process } = specOf({ security: { noNewPrivs: true } });
  const exec = execProcess(process, { cmd: ["ls"], tty: true });
  assert.deepEqual(exec.args, ["ls"]);
  assert.ok(exec.env.includes("TERM=xterm") && exec.noNewPrivileges && exec.terminal);
  assert.throws(() => execProcess(process, { cmd: [], tty: false }), /empty/);
});

function pauseOf(config: Partial<PodConfig> = {}) {
  return podSpec({
    id: "p1",
    config: podConfigFixture(config),
    process: { args: ["/pause"], env: [], cwd: "/" },
    user: { uid: 65535, gid: 65535, additionalGids: [] },
    rootfsPath: "/pause-rootfs",
    hostname: "pod",
    netnsPath: "/run/netns/p1",
    cgroupsPath: "/kubepods/p1",
    shm: "",
    resolvConf: "",
    imageName: "",
    selinuxLevel: "",
    annotations: {},
    host: specHostFixture(),
    readSeccompProfile: () => assert.fail("not asked for"),
  }).spec;
}

test("pause: the pod's namespaces and the two sysctl defaults, which a request overrides", () => {
  const spec = pauseOf();
  assert.deepEqual(ns(spec), { mount: undefined, pid: undefined, ipc: undefined, uts: undefined, network: "/run/netns/p1" });
  assert.deepEqual(spec.linux.sysctl, { "net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647" });
  const asked = pauseOf({ sysctls: { "net/ipv4/ip_unprivileged_port_start": "1024", "kernel.shm_rmid_forced": "1" } });
  assert.equal(asked.linux.sysctl?.["net.ipv4.ip_unprivileged_port_start"], "1024");
  assert.equal(asked.linux.sysctl?.["kernel.shm_rmid_forced"], "1");
});

test("pause on the host's network: no defaults, no hostname, no network namespace", () => {
  const { security } = podConfigFixture();
  const spec = pauseOf({ security: { ...security, namespaces: { network: "node", pid: "node", ipc: "node", targetId: "" } } });
  assert.deepEqual(spec.linux.sysctl, {});
  assert.equal(spec.hostname, undefined);
  assert.deepEqual(Object.keys(ns(spec)), ["mount"]);
});
