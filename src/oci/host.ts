import type { IdMapping } from "../records/pod-config.ts";
import type { SelinuxContexts } from "./selinux.ts";
import type { OciIdMapping, OciRlimit } from "./spec.ts";

/** What the specs depend on of the machine, found out once when the daemon starts. */
export interface SpecHost {
  cgroupVersion: 1 | 2;
  /** The daemon's capability bounding set, `CAP_...`: nothing beyond it can be handed to a container. */
  bounding: readonly string[];
  /** The lowest oom_score_adj that may be set: without CAP_SYS_RESOURCE no lower than the daemon's own. */
  minOomScoreAdj: number;
  /** Whether the kernel accounts swap, so that a swap limit can be written. */
  swapController: boolean;
  hugetlbController: boolean;
  seccomp: boolean;
  apparmor: boolean;
  /** What the policy says of containers; absent where SELinux is not enabled. */
  selinux?: SelinuxContexts;
  /** `process.arch` */
  arch: string;
  /** Whether the low-level runtime knows recursive read-only mounts (`rro`). */
  recursiveReadonly: boolean;
  /** Limits of every process of a container; those that are not here are inherited from the daemon through the shim. */
  rlimits: readonly OciRlimit[];
  /** Options of the mount at /sys/fs/cgroup, which a container without its own cgroup namespace must keep. */
  cgroupMountOptions: readonly string[];
}

export function toOciMappings(mappings: readonly IdMapping[]): OciIdMapping[] {
  return mappings.map(({ containerId, hostId, length }) => ({ containerID: containerId, hostID: hostId, size: length }));
}
