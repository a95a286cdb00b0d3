import { CridError } from "../base/errors.ts";
import type { ContainerConfig } from "../records/container-config.ts";
import type { ImageConfig } from "../records/image-record.ts";
import type { PodConfig, SecurityProfile } from "../records/pod-config.ts";
import { containerAnnotations } from "./annotations.ts";
import { containerCapabilities } from "./capabilities.ts";
import { containerDevices, type DeviceNode, type RequestedDevice } from "./devices.ts";
import type { SpecHost } from "./host.ts";
import { processArgs, processCwd, processEnv } from "./image-config.ts";
import { type BindMount, containerMounts } from "./mounts.ts";
import { checkSameUserns, containerNamespaces } from "./namespaces.ts";
import { cgroupResources, clampOomScoreAdj } from "./resources.ts";
import { seccompFor } from "./seccomp.ts";
import { apparmorProfile } from "./security.ts";
import { containerLabels } from "./selinux.ts";
import { OCI_VERSION, type OciProcess, type OciSpec, type OciUser } from "./spec.ts";

export interface ContainerSpecInput {
  config: ContainerConfig;
  image: ImageConfig;
  /** The image's name for the annotations, as the user wrote it. */
  imageName: string;
  pod: {
    id: string;
    config: PodConfig;
    pausePid: number;
    /** What HOSTNAME says: the pod's, or the host's where the pod has none. */
    hostname: string;
    selinuxLabel: string;
  };
  /** Resolved in the image: `resolveUser`. */
  user: OciUser;
  /** Annotations of pod and container that the runtime handler passes on. */
  annotations: Readonly<Record<string, string>>;
  /** The process whose pid namespace is joined in mode "target". */
  targetPid?: number;
  /** In the form that the cgroup driver takes. */
  cgroupsPath: string;
  /** The CRI's mounts, and those of the runtime's own, which give way to the CRI's at the same path. */
  binds: readonly BindMount[];
  extra: readonly BindMount[];
  devices: readonly RequestedDevice[];
  /** All of the host's; only used for privileged containers. */
  hostDevices: readonly DeviceNode[];
  /** What an unset seccomp profile means. */
  unsetSeccomp?: SecurityProfile;
  host: SpecHost;
  readSeccompProfile(path: string): string;
  apparmorLoaded(profile: string): boolean;
}

/** A container's spec, and the names of environment variables whose bytes JSON could not carry. */
export interface ContainerSpecResult {
  spec: OciSpec;
  lossyEnv: string[];
}

/**
 * The OCI spec of a container, from the CRI's request, the image's configuration and its pod. The root file system is `rootfs` in the bundle.
 *
 * @throws invalid-argument, failed-precondition, not-found, naming the field
 */
export function containerSpec(input: ContainerSpecInput): ContainerSpecResult {
  const { config, pod, host } = input;
  const { security } = config;
  if (security.privileged && !pod.config.security.privileged) {
    throw new CridError(
      "invalid-argument",
      "security_context.privileged: no privileged container allowed in sandbox, which was not created as privileged",
    );
  }
  checkSameUserns(security.namespaces.userns, pod.config.security.namespaces.userns);
  const cgroupNamespace = host.cgroupVersion === 2 && !security.privileged;
  const { process, lossyEnv } = containerProcess(input);
  const labels = containerLabels(security.selinux, host.selinux, pod.selinuxLabel);
  if (labels !== undefined && !security.privileged) process.selinuxLabel = labels.process;
  const seccomp = seccompFor({
    profile: security.seccomp ?? input.unsetSeccomp,
    privileged: security.privileged,
    available: host.seccomp,
    bounding: process.capabilities.bounding,
    arch: host.arch,
    readProfile: input.readSeccompProfile,
  });
  const namespaces = containerNamespaces(
    security.namespaces,
    pod.config.security.namespaces,
    { pause: pod.pausePid, ...(input.targetPid !== undefined && { target: input.targetPid }) },
    cgroupNamespace,
  );
  const { mounts, rootfsPropagation } = containerMounts({
    binds: input.binds,
    extra: input.extra,
    privileged: security.privileged,
    bindSysfs: pod.config.security.namespaces.network === "node" && security.namespaces.userns?.mode === "pod",
    cgroupNamespace,
    cgroupMountOptions: host.cgroupMountOptions,
    recursiveReadonlySupported: host.recursiveReadonly,
  });
  const { devices, rules } = containerDevices(input.devices, security.privileged ? { hostNodes: input.hostDevices } : undefined);
  return {
    lossyEnv,
    spec: {
      ociVersion: OCI_VERSION,
      process,
      root: { path: "rootfs", readonly: security.readonlyRootfs },
      mounts,
      annotations: containerAnnotations(pod.id, pod.config, { name: config.name, imageName: input.imageName }, input.annotations),
      linux: {
        ...namespaces,
        cgroupsPath: input.cgroupsPath,
        resources: { devices: rules, ...cgroupResources(config.resources, host) },
        devices,
        // The CRI says what to hide; the kubelet sends the usual list (or, for procMount: Unmasked, an empty one, which means none).
        maskedPaths: security.privileged ? [] : security.maskedPaths,
        readonlyPaths: security.privileged ? [] : security.readonlyPaths,
        ...(rootfsPropagation !== undefined && { rootfsPropagation }),
        ...(seccomp !== undefined && { seccomp }),
        ...(labels !== undefined && { mountLabel: labels.mount }),
      },
    },
  };
}

function containerProcess(input: ContainerSpecInput): { process: OciProcess; lossyEnv: string[] } {
  const { config, image, host } = input;
  const { security } = config;
  const { env, lossy } = processEnv({ env: config.env, image, hostname: input.pod.hostname, terminal: config.tty });
  const apparmor = apparmorProfile({
    profile: security.apparmor,
    privileged: security.privileged,
    available: host.apparmor,
    loaded: input.apparmorLoaded,
  });
  const process: OciProcess = {
    terminal: config.tty,
    user: input.user,
    args: processArgs(config, image),
    env,
    cwd: processCwd(config, image),
    capabilities: containerCapabilities(security, host),
    noNewPrivileges: security.noNewPrivs,
    oomScoreAdj: clampOomScoreAdj(config.resources.oomScoreAdj, host.minOomScoreAdj),
    ...(host.rlimits.length > 0 && { rlimits: [...host.rlimits] }),
    ...(apparmor !== undefined && { apparmorProfile: apparmor }),
  };
  return { process, lossyEnv: lossy };
}
