import { CridError } from "../base/errors.ts";
import type { ContainerSecurity } from "../records/container-config.ts";
import type { OciCapabilities } from "./spec.ts";

/** What a container gets that asks for nothing: the set Docker began with, kept by every Kubernetes runtime. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  "CAP_AUDIT_WRITE",
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_MKNOD",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_RAW",
  "CAP_SETFCAP",
  "CAP_SETGID",
  "CAP_SETPCAP",
  "CAP_SETUID",
  "CAP_SYS_CHROOT",
];

/**
 * The capability sets of a container's process. `ALL` counts before single names, so that `add: ALL, drop: CHOWN` is all but one.
 * Privileged and `ALL` mean all that the daemon itself may hand on. The inheritable set is empty but for ambient ones: a full one would give
 * capabilities to any setuid-less binary with file capabilities (CVE-2022-24769).
 *
 * @param host.bounding the daemon's bounding set
 * @throws failed-precondition when a named capability is outside the daemon's bounding set
 */
export function containerCapabilities(
  security: Pick<ContainerSecurity, "capabilities" | "privileged">,
  host: { bounding: readonly string[] },
): OciCapabilities {
  if (security.privileged) return capabilitySets([...host.bounding], []);
  const add = security.capabilities.add.map(fullName);
  const drop = security.capabilities.drop.map(fullName);
  const ambient = security.capabilities.addAmbient.map(fullName);
  let set: string[] = DEFAULT_CAPABILITIES.filter((name) => host.bounding.includes(name));
  if (add.includes("CAP_ALL")) set = [...host.bounding];
  if (drop.includes("CAP_ALL")) set = [];
  const named = [...add, ...ambient].filter((name) => name !== "CAP_ALL");
  for (const name of named) {
    if (!host.bounding.includes(name)) {
      throw new CridError(
        "failed-precondition",
        `capability ${name}: unknown, or not in the bounding set of the daemon, which cannot hand it on`,
      );
    }
    if (!set.includes(name)) set.push(name);
  }
  set = set.filter((name) => !drop.includes(name));
  return capabilitySets(
    set,
    ambient.filter((name) => set.includes(name)),
  );
}

export function capabilitySets(set: readonly string[], ambient: readonly string[]): OciCapabilities {
  return { bounding: [...set], effective: [...set], permitted: [...set], inheritable: [...ambient], ambient: [...ambient] };
}

/** The CRI gives names without the prefix, in any case. */
function fullName(name: string): string {
  const upper = name.toUpperCase();
  return upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
}
