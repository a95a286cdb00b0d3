import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { containerRecord, containerRequest, request } from "../fixtures.ts";
import { fromContainerStatus } from "./container.ts";
import { toContainerConfig } from "./container-config.ts";

const { v1 } = runtime;
const convert = (change: runtime.v1.ContainerConfig.$Properties) =>
  toContainerConfig(request(v1.ContainerConfig, { ...containerRequest, ...change }));

test("environment values are bytes", () => {
  const { env } = convert({ envs: [{ key: "A", value: Buffer.from([0xff, 0x80]) }, { key: "B" }] });
  assert.deepEqual(env, [
    { name: "A", valueBase64: "/4A=" },
    { name: "B", valueBase64: "" },
  ]);
});

test("mounts, devices, security", () => {
  const config = convert({
    mounts: [
      { containerPath: "/data", hostPath: "/srv", readonly: true, recursiveReadOnly: true, mountOptions: ["noexec"] },
      { containerPath: "/img", image: { image: "sha256:i" }, imageSubPath: "sub", readonly: true },
    ],
    devices: [{ hostPath: "/dev/null", permissions: "rw" }],
    CDIDevices: [{ name: "v/c=d" }],
    stopSignal: v1.Signal.SIGNAL_SIGRTMINPLUS3,
    linux: {
      resources: { oomScoreAdj: -998n, unified: { "memory.high": "1" }, hugepageLimits: [{ pageSize: "2MB", limit: 4n }] },
      securityContext: {
        capabilities: { addCapabilities: ["NET_ADMIN"] },
        runAsUsername: "nobody",
        runAsGroup: { value: 7n },
        apparmorProfile: "unconfined",
      },
    },
  });
  assert.equal(config.mounts[0]?.recursiveReadonly, true);
  assert.deepEqual(config.mounts[1]?.image, { ref: "sha256:i", userSpecified: "", subPath: "sub" });
  assert.equal(config.devices[0]?.containerPath, "/dev/null");
  assert.deepEqual(config.cdiDevices, ["v/c=d"]);
  assert.equal(config.stopSignal, "SIGRTMIN+3");
  assert.equal(config.resources.oomScoreAdj, -998);
  assert.deepEqual(config.security.capabilities, { add: ["NET_ADMIN"], drop: [], addAmbient: [] });
  assert.equal(config.security.runAsGroup, 7);
  assert.deepEqual(config.security.apparmor, { type: "unconfined", localhostRef: "" });
  assert.deepEqual(JSON.parse(JSON.stringify(config)), config, "the record is plain JSON");
});

test("every signal of the CRI has a name", () => {
  for (const value of Object.values(v1.Signal)) {
    if (typeof value === "number") assert.equal(convert({ stopSignal: value }).stopSignal === "", value === 0, String(value));
  }
});

for (const [what, change, message] of [
  ["no image", { image: null }, /^config\.image: is required$/],
  ["an empty image", { image: {} }, /^config\.image\.image: is required$/],
  ["a variable without a name", { envs: [{ value: Buffer.from("x") }] }, /envs\[0\]\.key: is required/],
  ["a variable with = in its name", { envs: [{ key: "A=B" }] }, /envs\[0\]\.key/],
  ["NUL in an argument", { args: ["a\0b"] }, /args\[0\]: contains a NUL/],
  ["a mount of nothing", { mounts: [{ containerPath: "/x" }] }, /mounts\[0\]\.host_path: is required/],
  [
    "a mount of two things",
    { mounts: [{ containerPath: "/x", hostPath: "/y", image: { image: "z" } }] },
    /host_path: cannot go with image/,
  ],
  [
    "recursive without read-only",
    { mounts: [{ containerPath: "/x", hostPath: "/y", recursiveReadOnly: true }] },
    /recursive_read_only: needs readonly/,
  ],
  [
    "recursive with propagation",
    { mounts: [{ containerPath: "/x", hostPath: "/y", readonly: true, recursiveReadOnly: true, propagation: 2 }] },
    /PROPAGATION_PRIVATE/,
  ],
  ["a group alone", { linux: { securityContext: { runAsGroup: { value: 1n } } } }, /run_as_group: needs/],
  ["user and name", { linux: { securityContext: { runAsUser: { value: 1n }, runAsUsername: "x" } } }, /run_as_username: cannot go with/],
  ["an impossible score", { linux: { resources: { oomScoreAdj: 5000n } } }, /oom_score_adj: 5000/],
  ["an unknown signal", { stopSignal: 99 as runtime.v1.Signal }, /stop_signal: 99 is no signal/],
] as [string, runtime.v1.ContainerConfig.$Properties, RegExp][]) {
  test(`refused: ${what}`, () => {
    assert.throws(() => convert(change), { kind: "invalid-argument", message });
  });
}

test("a container's status", () => {
  const config = convert({ mounts: [{ containerPath: "/img", image: { image: "ref" }, imageSubPath: "s", readonly: true }] });
  const record = containerRecord("c1", {
    config,
    imageMounts: [{ containerPath: "/img", imageId: "sha256:img", snapshotKey: "k" }],
    user: { uid: 1, gid: 2, supplementalGroups: [2, 3] },
    stopSignal: 34 + 3,
  });
  const status = v1.ContainerStatus.decode(v1.ContainerStatus.encode(fromContainerStatus({ record, state: "exited" })).finish());
  assert.equal(status.state, v1.ContainerState.CONTAINER_EXITED);
  assert.equal(status.image?.image, "nginx:1");
  assert.equal(status.mounts[0]?.image?.imageRef, "sha256:img");
  assert.equal(status.mounts[0]?.imageSubPath, "s");
  assert.deepEqual(status.user?.linux?.supplementalGroups, [2n, 3n]);
  assert.equal(status.stopSignal, v1.Signal.SIGNAL_SIGRTMINPLUS3);
  assert.equal(status.startedAt, 11n);
});

test("a log stays in the pod's log directory, and no name brings a line of its own", () => {
  const refused: [runtime.v1.ContainerConfig.$Properties, RegExp][] = [
    [{ logPath: "../../etc/cron.d/x" }, /^config\.log_path/],
    [{ logPath: "a/../../b" }, /^config\.log_path/],
    [{ logPath: "." }, /^config\.log_path/],
    [{ logPath: "a/" }, /^config\.log_path/],
    [{ logPath: "a\nb.log" }, /^config\.log_path/],
    [{ metadata: { name: "x\0y" } }, /^config\.metadata\.name/],
    [{ linux: { securityContext: { maskedPaths: ["/a", "/b\0c"] } } }, /masked_paths\[1\]/],
  ];
  for (const [change, message] of refused) assert.throws(() => convert(change), { kind: "invalid-argument", message });
  assert.equal(convert({ logPath: "main/0..log" }).logPath, "main/0..log");
});
