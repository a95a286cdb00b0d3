import { isDeepStrictEqual } from "node:util";
import { CridError } from "../base/errors.ts";
import type { NamespaceOptions, UserNamespace } from "../records/pod-config.ts";
import { toOciMappings } from "./host.ts";
import type { OciIdMapping, OciNamespace } from "./spec.ts";

export interface Namespaces {
  namespaces: OciNamespace[];
  uidMappings?: OciIdMapping[];
  gidMappings?: OciIdMapping[];
}

/**
 * The pause process' namespaces. On the host's network it shares the host's name too (uts), as the kubelet expects of hostNetwork pods.
 *
 * @param netnsPath "" on the host's network
 */
export function podNamespaces(options: NamespaceOptions, netnsPath: string): Namespaces {
  const namespaces: OciNamespace[] = [{ type: "mount" }];
  if (options.pid !== "node") namespaces.push({ type: "pid" });
  if (options.ipc !== "node") namespaces.push({ type: "ipc" });
  if (options.network !== "node") namespaces.push({ type: "uts" }, { type: "network", path: netnsPath });
  const maps = userMappings(options.userns);
  if (maps === undefined) return { namespaces };
  return { namespaces: [...namespaces, { type: "user" }], ...maps };
}

/**
 * A container's namespaces: the pod's, joined through its pause process, but for those it has of its own (mount; pid in mode
 * "container"). Whatever the pod shares with the host is not mentioned: the runtime is in it already.
 *
 * @param pids.target the process whose pid namespace is joined in mode "target"
 * @param cgroupNamespace whether it gets a cgroup namespace (cgroup v2 only: v1 has none worth it)
 */
export function containerNamespaces(
  options: NamespaceOptions,
  pod: NamespaceOptions,
  pids: { pause: number; target?: number },
  cgroupNamespace: boolean,
): Namespaces {
  const of = (name: string, pid = pids.pause): string => `/proc/${pid}/ns/${name}`;
  const namespaces: OciNamespace[] = [{ type: "mount" }];
  if (pod.network !== "node") namespaces.push({ type: "network", path: of("net") }, { type: "uts", path: of("uts") });
  if (pod.ipc !== "node") namespaces.push({ type: "ipc", path: of("ipc") });
  switch (options.pid) {
    case "container":
      namespaces.push({ type: "pid" });
      break;
    case "target":
      if (pids.target === undefined) throw new CridError("invalid-argument", "pid namespace mode TARGET: target_id is missing");
      namespaces.push({ type: "pid", path: of("pid", pids.target) });
      break;
    case "pod":
      // A pod in the host's pid namespace has none of its own to share.
      if (pod.pid !== "node") namespaces.push({ type: "pid", path: of("pid") });
      break;
    case "node":
      break;
  }
  if (cgroupNamespace) namespaces.push({ type: "cgroup" });
  const maps = userMappings(options.userns);
  if (maps === undefined) return { namespaces };
  return { namespaces: [...namespaces, { type: "user", path: of("user") }], ...maps };
}

/** The maps of a pod with a user namespace; undefined when it runs in the host's. @throws invalid-argument */
export function userMappings(userns: UserNamespace | undefined): { uidMappings: OciIdMapping[]; gidMappings: OciIdMapping[] } | undefined {
  if (userns === undefined || userns.mode === "node") {
    if (userns !== undefined && userns.uids.length + userns.gids.length > 0) {
      throw new CridError("invalid-argument", "userns_options: mode NODE takes no uid or gid mappings");
    }
    return undefined;
  }
  for (const [kind, maps] of [
    ["uids", userns.uids],
    ["gids", userns.gids],
  ] as const) {
    if (maps.length !== 1)
      throw new CridError("invalid-argument", `userns_options.${kind}: exactly one mapping is needed, got ${maps.length}`);
  }
  return { uidMappings: toOciMappings(userns.uids), gidMappings: toOciMappings(userns.gids) };
}

/** A container cannot have another user namespace than its pod. @throws invalid-argument */
export function checkSameUserns(container: UserNamespace | undefined, pod: UserNamespace | undefined): void {
  const normal = (userns: UserNamespace | undefined): UserNamespace | undefined => (userns?.mode === "node" ? undefined : userns);
  if (!isDeepStrictEqual(normal(container), normal(pod))) {
    throw new CridError("invalid-argument", "namespace_options.userns_options: differs from that of the pod; both must be the same");
  }
}
