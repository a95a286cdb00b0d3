import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { podRequest, podStatus, request } from "../fixtures.ts";
import { toPodConfig } from "./pod-config.ts";
import { fromSandboxStatus } from "./sandbox.ts";

const { v1 } = runtime;
const convert = (change: runtime.v1.PodSandboxConfig.$Properties) =>
  toPodConfig(request(v1.PodSandboxConfig, { ...podRequest, ...change }));

test("a pod with everything set", () => {
  const config = convert({
    hostname: "web-0",
    logDirectory: "/var/log/pods/web",
    dnsConfig: { servers: ["10.0.0.10"], searches: ["svc"], options: ["ndots:5"] },
    portMappings: [{ protocol: 1, containerPort: 53, hostPort: 5353, hostIp: "::1" }],
    linux: {
      cgroupParent: "/kubepods/pod1",
      sysctls: { "net.ipv4.ip_forward": "1" },
      overhead: { cpuShares: 10n },
      resources: { memoryLimitInBytes: 1n << 62n },
      securityContext: {
        namespaceOptions: {
          network: 2,
          pid: 1,
          ipc: 0,
          usernsOptions: {
            mode: 0,
            uids: [{ hostId: 65536, containerId: 0, length: 65536 }],
            gids: [{ hostId: 65536, containerId: 0, length: 65536 }],
          },
        },
        runAsUser: { value: 0n },
        supplementalGroups: [5n],
        supplementalGroupsPolicy: 1,
        seccomp: { profileType: 2, localhostRef: "p.json" },
        selinuxOptions: { level: "s0" },
        privileged: true,
      },
    },
  });
  assert.deepEqual(config.portMappings, [{ protocol: "udp", containerPort: 53, hostPort: 5353, hostIp: "::1" }]);
  assert.equal(config.resources?.memoryLimitBytes, Number.MAX_SAFE_INTEGER);
  assert.equal(config.overhead?.cpuShares, 10);
  assert.deepEqual(config.security.namespaces, {
    network: "node",
    pid: "container",
    ipc: "pod",
    targetId: "",
    userns: {
      mode: "pod",
      uids: [{ hostId: 65536, containerId: 0, length: 65536 }],
      gids: [{ hostId: 65536, containerId: 0, length: 65536 }],
    },
  });
  assert.equal(config.security.runAsUser, 0);
  assert.ok(!("runAsGroup" in config.security));
  assert.equal(config.security.supplementalGroupsPolicy, "strict");
  assert.deepEqual(config.security.seccomp, { type: "localhost", localhostRef: "p.json" });
  const plain: unknown = JSON.parse(JSON.stringify(config));
  assert.deepEqual(plain, config, "the record is plain JSON");
});

test("the least that a pod needs", () => {
  const config = convert({});
  assert.equal(config.attempt, 2);
  assert.deepEqual(config.security.namespaces, { network: "pod", pid: "pod", ipc: "pod", targetId: "" });
  assert.ok(!("dns" in config) && !("resources" in config));
});

for (const [what, change, message] of [
  ["no metadata", { metadata: null }, /^config\.metadata: is required$/],
  ["no name", { metadata: { namespace: "x" } }, /^config\.metadata\.name: is required$/],
  [
    "an unknown mode",
    { linux: { securityContext: { namespaceOptions: { pid: 9 } } } },
    /^config\.linux\.security_context\.namespace_options\.pid: 9 is not a known value$/,
  ],
  ["a target without its id", { linux: { securityContext: { namespaceOptions: { pid: 3 } } } }, /target_id: is required$/],
  ["a negative user", { linux: { securityContext: { runAsUser: { value: -1n } } } }, /run_as_user: -1 is no user or group id/],
  ["the kernel's no-id", { linux: { securityContext: { supplementalGroups: [0xffff_ffffn] } } }, /supplemental_groups\[0\]: 4294967295/],
  ["a port past 65535", { portMappings: [{ containerPort: 70_000 }] }, /port_mappings\[0\]\.container_port: 70000 is no port/],
  [
    "two id mappings",
    {
      linux: {
        securityContext: { namespaceOptions: { usernsOptions: { mode: 0, uids: [{ length: 1 }, { length: 1 }], gids: [{ length: 1 }] } } },
      },
    },
    /uids: must have one mapping, not 2$/,
  ],
  [
    "an empty id mapping",
    { linux: { securityContext: { namespaceOptions: { usernsOptions: { mode: 0, uids: [{ length: 0 }] } } } } },
    /uids\[0\]\.length: must be at least 1$/,
  ],
  [
    "a user namespace of mode TARGET",
    { linux: { securityContext: { namespaceOptions: { usernsOptions: { mode: 3 } } } } },
    /TARGET is not supported/,
  ],
  ["a bad cpu list", { linux: { resources: { cpusetCpus: "0-" } } }, /cpuset_cpus: "0-" is not a list/],
  ["a relative log directory", { logDirectory: "logs" }, /log_directory: "logs" is not an absolute path/],
  [
    "a localhost profile without a name",
    { linux: { securityContext: { seccomp: { profileType: 2 } } } },
    /seccomp\.localhost_ref: is required/,
  ],
] as [string, runtime.v1.PodSandboxConfig.$Properties, RegExp][]) {
  test(`refused: ${what}`, () => {
    assert.throws(() => convert(change), { kind: "invalid-argument", message });
  });
}

test("older spellings of profiles", () => {
  const seccomp = (text: string) => convert({ linux: { securityContext: { seccompProfilePath: text } } }).security.seccomp;
  assert.deepEqual(seccomp("runtime/default"), { type: "runtime-default", localhostRef: "" });
  assert.deepEqual(seccomp("localhost//p.json"), { type: "localhost", localhostRef: "/p.json" });
  assert.equal(seccomp(""), undefined);
  assert.throws(() => seccomp("nonsense"), { kind: "invalid-argument" });
});

test("a pod's status", () => {
  const bytes = v1.PodSandboxStatus.encode(fromSandboxStatus(podStatus("abc", { state: "not-ready" }))).finish();
  const status = v1.PodSandboxStatus.decode(bytes);
  assert.equal(status.state, v1.PodSandboxState.SANDBOX_NOTREADY);
  assert.equal(status.network?.ip, "10.1.0.2");
  assert.deepEqual(
    status.network?.additionalIps.map(({ ip }) => ip),
    ["fd00::2"],
  );
  assert.equal(status.createdAt, 5n);
  assert.equal(status.metadata?.attempt, 2);
});

test("what could add a line, leave a directory or end a string is refused with the field's name", () => {
  const refused: [runtime.v1.PodSandboxConfig.$Properties, RegExp][] = [
    [{ metadata: { name: "a\nb", namespace: "n", uid: "u" } }, /^config\.metadata\.name: "a\\nb" contains a control character/],
    [{ metadata: { name: "a", namespace: "n\0", uid: "u" } }, /^config\.metadata\.namespace/],
    [{ metadata: { name: "a", namespace: "n", uid: "x".repeat(1025) } }, /^config\.metadata\.uid: is longer than 1024/],
    [{ hostname: "a\nb" }, /^config\.hostname/],
    [{ hostname: "\u00e4".repeat(40) }, /^config\.hostname: is longer than the 64 bytes/],
    [{ dnsConfig: { searches: ["a\nnameserver 6.6.6.6"] } }, /^config\.dns_config\.searches\[0\]/],
    [{ logDirectory: "/a\nb" }, /^config\.log_directory/],
    [{ portMappings: [{ hostPort: 80, containerPort: 80, hostIp: "not-an-ip" }] }, /^config\.port_mappings\[0\]\.host_ip/],
    [{ linux: { cgroupParent: "/a\0b" } }, /^config\.linux\.cgroup_parent/],
    [{ linux: { sysctls: { "net.core.somaxconn": "1\n2" } } }, /^config\.linux\.sysctls\["net\.core\.somaxconn"\]/],
    [{ linux: { resources: { cpuQuota: -2n } } }, /^config\.linux\.resources\.cpu_quota: -2 is less than -1/],
    [{ linux: { securityContext: { namespaceOptions: { pid: 3, targetId: "x" } } } }, /namespace_options\.pid: TARGET is for containers/],
    [{ linux: { securityContext: { namespaceOptions: { network: 3 } } } }, /namespace_options\.network: TARGET is only for pid/],
  ];
  for (const [change, message] of refused) assert.throws(() => convert(change), { kind: "invalid-argument", message });
  assert.equal(convert({ linux: { sysctls: { "net.ipv4.ip_local_port_range": "1\t2" } } }).sysctls["net.ipv4.ip_local_port_range"], "1\t2");
});
