import type { PodConfig, SecurityProfile } from "../records/pod-config.ts";
import { podAnnotations } from "./annotations.ts";
import { capabilitySets, DEFAULT_CAPABILITIES } from "./capabilities.ts";
import type { SpecHost } from "./host.ts";
import { podNamespaces } from "./namespaces.ts";
import { clampOomScoreAdj } from "./resources.ts";
import { seccompFor } from "./seccomp.ts";
import { podLabels } from "./selinux.ts";
import { OCI_VERSION, type OciMount, type OciSpec, type OciUser } from "./spec.ts";
import { podSysctls } from "./sysctls.ts";

/** The kernel kills a pause last: with it the pod's network is gone. The kubelet counts on this value. */
const PAUSE_OOM_SCORE_ADJ = -998;
/** The least that the kernel takes: a pause uses no CPU. */
const PAUSE_CPU_SHARES = 2;

export interface PodSpecInput {
  id: string;
  config: PodConfig;
  /** What runs in it: the built-in pause, or the entrypoint of the configured sandbox image. */
  process: { args: string[]; env: string[]; cwd: string };
  /** `resolveUser` for an image; 0:0 for the built-in pause, or what the CRI says. */
  user: OciUser;
  /** Absolute, or relative to the bundle. */
  rootfsPath: string;
  /** The name of the pod; "" on the host's network, where it has the host's. */
  hostname: string;
  /** "" on the host's network. */
  netnsPath: string;
  cgroupsPath: string;
  /** The pod's tmpfs for /dev/shm, and its resolv.conf; "" = not mounted (nobody but sandboxed runtimes looks). */
  shm: string;
  resolvConf: string;
  imageName: string;
  /** Annotations of the pod that the runtime handler passes on. */
  annotations: Readonly<Record<string, string>>;
  /** The pod's own SELinux categories; "" = none. */
  selinuxLevel: string;
  unsetSeccomp?: SecurityProfile;
  host: SpecHost;
  readSeccompProfile(path: string): string;
}

/** The OCI spec of a pod's pause process. */
export function podSpec(input: PodSpecInput): { spec: OciSpec } {
  const { config, host } = input;
  const { security } = config;
  const capabilities = DEFAULT_CAPABILITIES.filter((name) => host.bounding.includes(name));
  const labels = podLabels(security.selinux, host.selinux, input.selinuxLevel);
  const seccomp = seccompFor({
    profile: security.seccomp ?? input.unsetSeccomp,
    privileged: security.privileged,
    available: host.seccomp,
    bounding: capabilities,
    arch: host.arch,
    readProfile: input.readSeccompProfile,
  });
  const bindSysfs = security.namespaces.network === "node" && security.namespaces.userns?.mode === "pod";
  const groups = [...new Set([...input.user.additionalGids, ...security.supplementalGroups])].sort((a, b) => a - b);
  return {
    spec: {
      ociVersion: OCI_VERSION,
      process: {
        terminal: false,
        user: { ...input.user, additionalGids: groups },
        ...input.process,
        capabilities: capabilitySets(capabilities, []),
        noNewPrivileges: true,
        oomScoreAdj: clampOomScoreAdj(PAUSE_OOM_SCORE_ADJ, host.minOomScoreAdj),
        ...(labels !== undefined && !security.privileged && { selinuxLabel: labels.process }),
      },
      root: { path: input.rootfsPath, readonly: true },
      ...(security.namespaces.network !== "node" && input.hostname !== "" && { hostname: input.hostname }),
      mounts: pauseMounts(input, bindSysfs),
      annotations: podAnnotations(input.id, config, input.imageName, input.annotations),
      linux: {
        ...podNamespaces(security.namespaces, input.netnsPath),
        cgroupsPath: input.cgroupsPath,
        resources: { devices: [{ allow: false, access: "rwm" }], cpu: { shares: PAUSE_CPU_SHARES } },
        sysctl: podSysctls(config),
        maskedPaths: [],
        readonlyPaths: [],
        ...(seccomp !== undefined && { seccomp }),
        ...(labels !== undefined && { mountLabel: labels.mount }),
      },
    },
  };
}

/** The runtime needs /proc (it writes the sysctls there) and a /dev of its own. nosuid, nodev and noexec are forced in a user namespace. */
function pauseMounts(input: PodSpecInput, bindSysfs: boolean): OciMount[] {
  const bind = (source: string, destination: string): OciMount[] =>
    source === "" ? [] : [{ destination, type: "bind", source, options: ["rbind", "ro", "nosuid", "nodev", "noexec"] }];
  // A network namespace has one sysfs, and whoever mounts it first, which is the pause, decides for all later ones whether it can be written.
  const sysMode = input.config.security.privileged ? "rw" : "ro";
  return [
    { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
    { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
    bindSysfs
      ? { destination: "/sys", type: "bind", source: "/sys", options: ["rbind", "rro", "nosuid", "noexec", "nodev"] }
      : { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", sysMode] },
    ...bind(input.shm, "/dev/shm"),
    ...bind(input.resolvConf, "/etc/resolv.conf"),
  ];
}
