import { randomInt } from "node:crypto";
import { CridError } from "../base/errors.ts";
import type { SelinuxOptions } from "../records/pod-config.ts";

/*
 * SELinux labels: `user:role:type:level`. The level of a container is a pair of MCS categories (`s0:c12,c345`) that no other pod has: processes of one
 * pod cannot touch the files of another although both have the same type. What is computed here is what Go's opencontainers/selinux computes.
 */

/** What the policy of the host (container-selinux) says of containers. */
export interface SelinuxContexts {
  /** Of processes: `system_u:system_r:container_t:s0`; "" when the policy has none: then only what a pod asks for itself is set. */
  process: string;
  /** Of their files: `system_u:object_r:container_file_t:s0`. */
  file: string;
}

export interface SelinuxLabels {
  process: string;
  /** Of files: for the root file system, tmpfs mounts, and volumes that are relabelled. */
  mount: string;
}

/** For a policy without contexts of containers. */
const usual: SelinuxContexts = { process: "system_u:system_r:container_t:s0", file: "system_u:object_r:container_file_t:s0" };

/** Categories are c0 to c1023. */
const categories = 1024;
/** As containerd checks it: sensitivities, and categories, single or in ranges. */
const levelForm = /^s\d(-s\d)?(:c\d{1,4}(\.c\d{1,4})?(,c\d{1,4}(\.c\d{1,4})?)*)?$/;

/** Reads `lxc_contexts`: lines of `key = "value"`, comments with # or ;. */
export function parseContexts(text: string): SelinuxContexts {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, key, value] = /^\s*([^#;=\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) values.set(key, value.replaceAll(/^"+|"+$/g, ""));
  }
  const [process, file] = [values.get("process") ?? "", values.get("file") ?? ""];
  return process === "" || file === "" ? { process: "", file: "" } : { process, file };
}

/**
 * The labels of a pod.
 *
 * @param level the pod's own categories; "" = those of the policy or the options
 * @returns undefined without SELinux, and where neither the pod nor the policy says anything
 * @throws invalid-argument for a level that is none
 */
export function podLabels(
  options: SelinuxOptions | undefined,
  contexts: SelinuxContexts | undefined,
  level: string,
): SelinuxLabels | undefined {
  if (contexts === undefined) return undefined;
  const base = contexts.process === "" ? usual : contexts;
  if (options === undefined && contexts.process === "") return undefined;
  return applied(options, { process: withLevel(base.process, level), mount: withLevel(base.file, level) });
}

/**
 * The labels of a container: those of its pod, with what the container itself asks for put over them.
 *
 * @throws invalid-argument for a level that is none
 */
export function containerLabels(
  options: SelinuxOptions | undefined,
  contexts: SelinuxContexts | undefined,
  podLabel: string,
): SelinuxLabels | undefined {
  if (contexts === undefined || podLabel === "") return podLabels(options, contexts, "");
  const [user = "", , , level] = partsOf(podLabel);
  const [, role = "", type = ""] = partsOf((contexts.file === "" ? usual : contexts).file);
  return applied(options, { process: podLabel, mount: joined(user, role, type, level) });
}

/** Two categories that are not in use. @throws resource-exhausted when none is found: there are half a million */
export function freeLevel(used: ReadonlySet<string>, random: (below: number) => number = randomInt): string {
  for (let attempt = 0; attempt < 100_000; attempt++) {
    const [a, b] = [random(categories), random(categories)];
    const level = `s0:c${Math.min(a, b)},c${Math.max(a, b)}`;
    if (a !== b && !used.has(level)) return level;
  }
  throw new CridError("resource-exhausted", "no SELinux categories are left for another pod");
}

/** The level of a label, with its categories; "" when it has none. */
export function levelOf(label: string): string {
  return partsOf(label)[3] ?? "";
}

function applied(options: SelinuxOptions | undefined, labels: SelinuxLabels): SelinuxLabels {
  if (options === undefined) return labels;
  if (options.level !== "" && !levelForm.test(options.level)) {
    throw new CridError("invalid-argument", `selinux_options.level: the format of "${options.level}" is not correct; write it as s0:c1,c2`);
  }
  for (const part of ["user", "role", "type"] as const) {
    if (!/^\w*$/.test(options[part])) throw new CridError("invalid-argument", `selinux_options.${part}: "${options[part]}" is no name`);
  }
  const [user = "", role = "", type = "", level] = partsOf(labels.process);
  const [fileUser = "", fileRole = "", fileType = "", fileLevel] = partsOf(labels.mount);
  return {
    process: joined(options.user || user, options.role || role, options.type || type, options.level || level),
    mount: joined(options.user || fileUser, fileRole, fileType, options.level || fileLevel),
  };
}

/** A level has colons of its own. */
function partsOf(label: string): string[] {
  const [user = "", role = "", type = "", ...level] = label.split(":");
  return level.length > 0 ? [user, role, type, level.join(":")] : [user, role, type];
}

function joined(user: string, role: string, type: string, level: string | undefined): string {
  return [user, role, type, ...(level === undefined || level === "" ? [] : [level])].join(":");
}

/** A policy without levels (no MCS) gets none. */
function withLevel(label: string, level: string): string {
  const [user = "", role = "", type = "", own] = partsOf(label);
  return own === undefined || level === "" ? label : joined(user, role, type, level);
}
