import type { runtime } from "../../../api/cri/runtime/v1/api.js";
import type {
  IdMapping,
  NamespaceMode,
  NamespaceOptions,
  SecurityProfile,
  SelinuxOptions,
  SupplementalGroupsPolicy,
  UserNamespace,
} from "../../records/pod-config.ts";
import { badField, filled, userId, word } from "./fields.ts";

const modes: readonly NamespaceMode[] = ["pod", "container", "node", "target"];
const policies: readonly SupplementalGroupsPolicy[] = ["merge", "strict"];
const profiles: readonly SecurityProfile["type"][] = ["runtime-default", "unconfined", "localhost"];

/** Absent options are those of the enum's zero: everything the pod's. */
export function toNamespaces(message: runtime.v1.NamespaceOption | null | undefined, path: string): NamespaceOptions {
  if (message === null || message === undefined) return { network: "pod", pid: "pod", ipc: "pod", targetId: "" };
  const pid = word(modes, message.pid, `${path}.pid`);
  if (pid === "target") filled(message.targetId, `${path}.target_id`);
  const userns = toUserNamespace(message.usernsOptions, `${path}.userns_options`);
  return {
    network: podOrNode(message.network, `${path}.network`),
    pid,
    ipc: podOrNode(message.ipc, `${path}.ipc`),
    targetId: pid === "target" ? message.targetId : "",
    ...(userns !== undefined && { userns }),
  };
}

/** CONTAINER is taken for POD, as the field's runtimes do: Kubernetes has no such network or ipc. */
function podOrNode(value: number, path: string): NamespaceMode {
  const mode = word(modes, value, path);
  if (mode === "target") throw badField(path, "TARGET is only for pid");
  return mode;
}

export function fromNamespaces(options: NamespaceOptions): runtime.v1.NamespaceOption.$Properties {
  return {
    network: modes.indexOf(options.network),
    pid: modes.indexOf(options.pid),
    ipc: modes.indexOf(options.ipc),
    targetId: options.targetId,
    ...(options.userns !== undefined && {
      usernsOptions: { mode: modes.indexOf(options.userns.mode), uids: options.userns.uids, gids: options.userns.gids },
    }),
  };
}

function toUserNamespace(message: runtime.v1.UserNamespace | null | undefined, path: string): UserNamespace | undefined {
  if (message === null || message === undefined) return undefined;
  const mode = word(modes, message.mode, `${path}.mode`);
  const uids = toIdMappings(message.uids, `${path}.uids`);
  const gids = toIdMappings(message.gids, `${path}.gids`);
  if (mode === "node") {
    if (uids.length + gids.length > 0) throw badField(path, "mappings need mode POD");
    return { mode, uids, gids };
  }
  if (mode !== "pod") throw badField(`${path}.mode`, `${mode.toUpperCase()} is not supported for user namespaces; it must be POD or NODE`);
  // The kubelet sends one line of each; an overlay of idmapped layers could not take more.
  if (uids.length !== 1) throw badField(`${path}.uids`, `must have one mapping, not ${uids.length}`);
  if (gids.length !== 1) throw badField(`${path}.gids`, `must have one mapping, not ${gids.length}`);
  return { mode, uids, gids };
}

export function toIdMappings(messages: readonly runtime.v1.IDMapping[], path: string): IdMapping[] {
  return messages.map(({ hostId, containerId, length }, index) => {
    if (length === 0) throw badField(`${path}[${index}].length`, "must be at least 1");
    return { hostId, containerId, length };
  });
}

/** @param legacy the deprecated string that older callers send instead: "runtime/default", "localhost/NAME", "unconfined" */
export function toProfile(
  message: runtime.v1.SecurityProfile | null | undefined,
  legacy: string,
  path: string,
): SecurityProfile | undefined {
  if (message === null || message === undefined) return fromLegacyProfile(legacy, path);
  const type = word(profiles, message.profileType, `${path}.profile_type`);
  if (type === "localhost") filled(message.localhostRef, `${path}.localhost_ref`);
  return { type, localhostRef: type === "localhost" ? message.localhostRef : "" };
}

function fromLegacyProfile(text: string, path: string): SecurityProfile | undefined {
  if (text === "") return undefined;
  if (text === "unconfined") return { type: "unconfined", localhostRef: "" };
  if (text === "runtime/default" || text === "docker/default") return { type: "runtime-default", localhostRef: "" };
  if (text.startsWith("localhost/")) return { type: "localhost", localhostRef: filled(text.slice("localhost/".length), path) };
  throw badField(path, `${JSON.stringify(text)} is no profile`);
}

export function toSelinux(message: runtime.v1.SELinuxOption | null | undefined): SelinuxOptions | undefined {
  if (message === null || message === undefined) return undefined;
  const { user, role, type, level } = message;
  return user === "" && role === "" && type === "" && level === "" ? undefined : { user, role, type, level };
}

export function toGroups(ids: readonly bigint[], path: string): number[] {
  return ids.map((id, index) => userId(id, `${path}[${index}]`));
}

export function toGroupsPolicy(value: number, path: string): SupplementalGroupsPolicy {
  return word(policies, value, path);
}

/** run_as_user and run_as_group as the records have them: absent when not sent. */
export function toRunAs(
  user: runtime.v1.Int64Value | null | undefined,
  group: runtime.v1.Int64Value | null | undefined,
  path: string,
): { runAsUser?: number; runAsGroup?: number } {
  return {
    ...(user && { runAsUser: userId(user.value, `${path}.run_as_user`) }),
    ...(group && { runAsGroup: userId(group.value, `${path}.run_as_group`) }),
  };
}
