import type { ContainerConfig } from "../records/container-config.ts";
import type { ImageConfig } from "../records/image-record.ts";
import type { LinuxResources, PodConfig } from "../records/pod-config.ts";
import type { SpecHost } from "./host.ts";

/*
 * Smallest valid inputs, for tests.
 */

export const NO_RESOURCES: LinuxResources = {
  cpuPeriod: 0,
  cpuQuota: 0,
  cpuShares: 0,
  memoryLimitBytes: 0,
  oomScoreAdj: 0,
  cpusetCpus: "",
  cpusetMems: "",
  hugepageLimits: [],
  unified: {},
  memorySwapLimitBytes: 0,
};

export function podConfigFixture(change: Partial<PodConfig> = {}): PodConfig {
  return {
    name: "pod",
    uid: "uid-1",
    namespace: "default",
    attempt: 0,
    hostname: "pod",
    logDirectory: "",
    portMappings: [],
    labels: {},
    annotations: {},
    cgroupParent: "",
    sysctls: {},
    security: {
      namespaces: { network: "pod", pid: "container", ipc: "pod", targetId: "" },
      privileged: false,
      readonlyRootfs: false,
      supplementalGroups: [],
      supplementalGroupsPolicy: "merge",
    },
    ...change,
  };
}

export function containerConfigFixture(change: Partial<ContainerConfig> = {}): ContainerConfig {
  return {
    name: "main",
    attempt: 0,
    image: { ref: "busybox", userSpecified: "busybox", annotations: {}, runtimeHandler: "" },
    command: [],
    args: [],
    workingDir: "",
    env: [],
    mounts: [],
    devices: [],
    cdiDevices: [],
    labels: {},
    annotations: {},
    logPath: "",
    stdin: false,
    stdinOnce: false,
    tty: false,
    stopSignal: "",
    resources: NO_RESOURCES,
    security: {
      capabilities: { add: [], drop: [], addAmbient: [] },
      privileged: false,
      namespaces: { network: "pod", pid: "container", ipc: "pod", targetId: "" },
      runAsUsername: "",
      readonlyRootfs: false,
      supplementalGroups: [],
      supplementalGroupsPolicy: "merge",
      noNewPrivs: false,
      maskedPaths: [],
      readonlyPaths: [],
    },
    ...change,
  };
}

export function imageConfigFixture(change: Partial<ImageConfig> = {}): ImageConfig {
  return {
    user: "",
    env: [],
    entrypoint: [],
    cmd: ["sh"],
    workingDir: "",
    stopSignal: "",
    labels: {},
    volumes: [],
    os: "linux",
    architecture: "amd64",
    variant: "",
    ...change,
  };
}

export function specHostFixture(change: Partial<SpecHost> = {}): SpecHost {
  return {
    cgroupVersion: 1,
    bounding: [
      ..."AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_ADMIN NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_ADMIN SYS_CHROOT"
        .split(" ")
        .map((name) => `CAP_${name}`),
    ],
    minOomScoreAdj: -1000,
    swapController: true,
    hugetlbController: true,
    seccomp: true,
    apparmor: false,
    arch: "x64",
    recursiveReadonly: true,
    rlimits: [],
    cgroupMountOptions: [],
    ...change,
  };
}
