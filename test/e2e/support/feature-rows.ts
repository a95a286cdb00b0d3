import { readFileSync, readlinkSync } from "node:fs";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import type { Asked, FeaturePod } from "./features.ts";
import { busybox } from "./pods.ts";

const { NamespaceMode, SecurityProfile, SupplementalGroupsPolicy } = runtime.v1;
const { ProfileType } = SecurityProfile;
/** Its files put user 1000 into group 50000. */
export const grouped = "gcr.io/k8s-staging-cri-tools/test-image-predefined-group:latest";
const bytes = (text: string): Uint8Array => Buffer.from(text);
const id = (value: number) => ({ value: BigInt(value) });

export interface FeaturePods {
  usual: FeaturePod;
  privileged: FeaturePod;
  /** In the host's network, pid and ipc namespaces. */
  onHost: FeaturePod;
  /** Its containers share one pid namespace. */
  sharedPid: FeaturePod;
}

/** A feature, and how a container sees it. */
interface Row extends Asked {
  /** The pod it runs in; usual when not said. */
  in?: keyof FeaturePods;
  /** The whole output, or what must be in it. */
  expect: string | RegExp | ((pod: FeaturePod) => string);
}

/** One bit of /proc/self/status' capability masks. */
const cap = (...bits: number[]): string =>
  bits
    .reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n)
    .toString(16)
    .padStart(16, "0");
const capEff = "sed -n 's/^CapEff:\t//p' /proc/self/status";

export const features: Record<string, Row> = {
  env: {
    script: 'echo "$A|$B|$HOSTNAME|$HOME"',
    container: {
      envs: [
        { key: "A", value: bytes("1") },
        { key: "B", value: bytes("x=y z") },
      ],
    },
    expect: ({ config }) => `1|x=y z|${config.hostname}|/root`,
  },
  "a working directory that is made": { script: "pwd", container: { workingDir: "/made/for/it" }, expect: "/made/for/it" },
  "command and args": { container: { command: ["echo", "a"], args: ["b c", "$HOME"] }, expect: "a b c $HOME" },
  "args alone, behind the image's (no) entrypoint": { container: { command: [], args: ["echo", "only"] }, expect: "only" },

  "all capabilities dropped": { script: capEff, security: { capabilities: { dropCapabilities: ["ALL"] } }, expect: cap() },
  "all dropped, one added": {
    script: capEff,
    security: { capabilities: { dropCapabilities: ["ALL"], addCapabilities: ["NET_BIND_SERVICE"] } },
    expect: cap(10),
  },
  "the default capabilities": { script: capEff, expect: cap(0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31) },
  "a default one dropped, another added, in the CAP_ form": {
    script: capEff,
    security: { capabilities: { dropCapabilities: ["CAP_MKNOD"], addCapabilities: ["CAP_NET_ADMIN"] } },
    expect: cap(0, 1, 3, 4, 5, 6, 7, 8, 10, 12, 13, 18, 29, 31),
  },
  "an ambient one reaches another user": {
    script: "sed -n 's/^CapAmb:\t//p' /proc/self/status",
    security: {
      runAsUser: id(1000),
      capabilities: { addAmbientCapabilities: ["NET_BIND_SERVICE"], addCapabilities: ["NET_BIND_SERVICE"] },
    },
    expect: cap(10),
  },
  privileged: {
    in: "privileged",
    script:
      "sed -n 's/^CapBnd:\t//p' /proc/self/status; grep -c ' /sys sysfs rw' /proc/mounts; ls /dev/kmsg; sed -n 's/^Seccomp:\t//p' /proc/self/status",
    security: { privileged: true },
    expect: () => `${/^CapBnd:\t(\w+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]}\n1\n/dev/kmsg\n0`,
  },
  "no new privileges": { script: "grep NoNewPrivs /proc/self/status", security: { noNewPrivs: true }, expect: "NoNewPrivs:\t1" },
  "new privileges unless asked": { script: "grep NoNewPrivs /proc/self/status", expect: "NoNewPrivs:\t0" },
  "a read-only root": {
    script: "touch /file; touch /dev/shm/file && echo shm",
    security: { readonlyRootfs: true },
    expect: "shm",
  },
  "the default seccomp profile": {
    script: "sed -n 's/^Seccomp:\t//p' /proc/self/status; unshare -U true || echo refused",
    security: { seccomp: { profileType: ProfileType.RuntimeDefault } },
    expect: "2\nrefused",
  },
  "no seccomp profile": {
    script: "sed -n 's/^Seccomp:\t//p' /proc/self/status",
    security: { seccomp: { profileType: ProfileType.Unconfined } },
    expect: "0",
  },
  "user, group, further groups": {
    script: "id -u; id -g; id -G",
    security: { runAsUser: id(1234), runAsGroup: id(55), supplementalGroups: [7777n] },
    expect: "1234\n55\n55 7777",
  },
  "a user by name": { script: "id -u; id -g", security: { runAsUsername: "www-data" }, expect: "33\n33" },
  "the groups of the image's files, merged": {
    image: grouped,
    container: { command: ["id", "-G"] },
    security: { runAsUser: id(1000), supplementalGroups: [1234n] },
    expect: "1000 1234 50000",
  },
  "the groups of the image's files, left out": {
    image: grouped,
    container: { command: ["id", "-G"] },
    security: { runAsUser: id(1000), supplementalGroups: [1234n], supplementalGroupsPolicy: SupplementalGroupsPolicy.Strict },
    expect: "1000 1234",
  },
  "masked and read-only paths": {
    script: "wc -c < /proc/version; ls -d /proc/scsi /proc/sys | wc -l; echo 1 > /proc/sys/vm/swappiness || echo refused",
    security: { maskedPaths: ["/proc/version", "/proc/scsi", "/no/such"], readonlyPaths: ["/proc/sys"] },
    expect: /^0\n[12]\nrefused$/,
  },
  "an unmasked /proc": { script: "grep -c ' /proc/' /proc/mounts; grep -c Linux /proc/version", expect: "0\n1" },
  "the pod's sysctls": { script: "cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/shm_rmid_forced", expect: "2000\t3000\n1" },
  "namespaces of the host": {
    in: "onHost",
    script: "for n in pid ipc net; do readlink /proc/self/ns/$n; done; hostname",
    expect: () =>
      [
        ...["pid", "ipc", "net"].map((name) => readlinkSync(`/proc/self/ns/${name}`)),
        readFileSync("/proc/sys/kernel/hostname", "utf8").trim(),
      ].join("\n"),
  },
  "the pod's pid namespace": {
    container: { command: ["cat", "/proc/1/cmdline"] },
    security: { namespaceOptions: { pid: NamespaceMode.POD } },
    in: "sharedPid",
    expect: "/pause\0",
  },
  "shared memory of 64 MiB": { script: "df -k /dev/shm | tail -1 | awk '{print $2}'", expect: "65536" },
  devices: {
    script:
      "echo x > /dev/both && echo both; exec 3< /dev/readable && echo opened; ( exec 4> /dev/readable ) || echo refused; ls -l /dev/both | cut -c1",
    container: {
      devices: [
        { hostPath: "/dev/null", containerPath: "/dev/both", permissions: "rw" },
        { hostPath: "/dev/loop-control", containerPath: "/dev/readable", permissions: "r" },
      ],
    },
    expect: "both\nopened\nrefused\nc",
  },
  "huge page limits, where there is no such controller as well": {
    script: "echo runs",
    resources: { hugepageLimits: [{ pageSize: "2MB", limit: 4194304n }] },
    expect: "runs",
  },
  "a cpuset": {
    script: "grep Cpus_allowed_list /proc/self/status",
    resources: { cpusetCpus: "0", cpusetMems: "0" },
    expect: "Cpus_allowed_list:\t0",
  },
  oom_score_adj: { script: "cat /proc/self/oom_score_adj", resources: { oomScoreAdj: 567n }, expect: "567" },
  "limits of processes: open files as the daemon got them, others configured": {
    script: "ulimit -Sn; ulimit -Su; ulimit -Hu; [ $(ulimit -Hn) -gt 777 ] && echo more",
    expect: "777\n5000\n6000\nmore",
  },
  "an image as a volume, a folder of it, with options": {
    script:
      "ls /volume/sh; grep -c ' /volume .*noexec' /proc/mounts; /volume/sh -c true || echo refused; touch /volume/x || echo read-only",
    container: {
      mounts: [{ containerPath: "/volume", image: { image: busybox }, imageSubPath: "bin", mountOptions: ["noexec"], readonly: true }],
    },
    expect: "/volume/sh\n1\nrefused\nread-only",
  },
  "stdin that nobody asked for is empty": { script: "cat; echo end", expect: "end" },
};
