import type { BindMount } from "../oci/mounts.ts";
import type { ContainerConfig } from "../records/container-config.ts";
import type { IdMapping } from "../records/pod-config.ts";
import type { Idmap } from "../snapshot/snapshotter.ts";
import type { PodContext } from "./deps.ts";

/** Empty without a user namespace. */
export interface UserMaps {
  uids: readonly IdMapping[];
  gids: readonly IdMapping[];
}

export function userMapsOf(config: Pick<ContainerConfig, "security">): UserMaps {
  const { userns } = config.security.namespaces;
  return userns?.mode === "pod" ? { uids: userns.uids, gids: userns.gids } : { uids: [], gids: [] };
}

/** What the root file system and image volumes are seen through; undefined without a user namespace. */
export function idmapOf(maps: UserMaps, pausePid: number): Idmap | undefined {
  return maps.uids.length > 0 ? { ...maps, userns: `/proc/${pausePid}/ns/user` } : undefined;
}

/** The id on the host of one in the container; the id itself without maps or outside of them. */
export function toHost(id: number, maps: readonly IdMapping[]): number {
  const map = maps.find(({ containerId, length }) => id >= containerId && id < containerId + length);
  return map === undefined ? id : map.hostId + (id - map.containerId);
}

/** The pod's own files and its /dev/shm, bound into every container that does not bring its own. The kubelet brings /etc/hosts; crictl does not. */
export function podBinds(pod: Pick<PodContext, "dirs">, config: Pick<ContainerConfig, "security">): BindMount[] {
  const maps = userMapsOf(config);
  const { readonlyRootfs } = config.security;
  const files: [source: string, containerPath: string, readonly: boolean, options: string[]][] = [
    [pod.dirs.hostname, "/etc/hostname", readonlyRootfs, []],
    [pod.dirs.hosts, "/etc/hosts", readonlyRootfs, []],
    [pod.dirs.resolvConf, "/etc/resolv.conf", readonlyRootfs, []],
    // A bind that says "rw" loses what its source was mounted with.
    [pod.dirs.shm, "/dev/shm", false, ["nosuid", "nodev", "noexec"]],
  ];
  return files
    .filter(([source]) => source !== "")
    .map(([source, containerPath, readonly, options]) => ({
      containerPath,
      source,
      readonly,
      recursiveReadonly: false,
      propagation: "private",
      uidMappings: maps.uids,
      gidMappings: maps.gids,
      options,
    }));
}
