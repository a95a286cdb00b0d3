import { CridError } from "../base/errors.ts";
import type { NamespaceOptions, PodConfig } from "../records/pod-config.ts";

/**
 * A pod's sysctls, with two defaults for pods on a network of their own: any user may bind ports below 1024 and send ICMP echo there,
 * because the namespace's ports belong to nobody else. (containerd: enable_unprivileged_ports, enable_unprivileged_icmp.)
 *
 * @throws invalid-argument for a name that is no sysctl or one of a namespace that the pod shares with the host
 */
export function podSysctls(config: Pick<PodConfig, "sysctls" | "security">): Record<string, string> {
  const { namespaces } = config.security;
  const sysctls: Record<string, string> = {};
  for (const [name, value] of Object.entries(config.sysctls)) {
    // sysctl(8) takes slashes as well as dots; the runtime wants dots.
    const dotted = name.includes("/") && (!name.includes(".") || name.indexOf("/") < name.indexOf(".")) ? swapSeparators(name) : name;
    if (!/^[\w.\-/]+$/.test(dotted)) throw new CridError("invalid-argument", `sysctls: "${name}" is not a sysctl`);
    const shared = sharedWithHost(dotted, namespaces);
    if (shared !== undefined)
      throw new CridError("invalid-argument", `sysctls: "${name}" belongs to the ${shared} namespace, which the pod shares with the host`);
    sysctls[dotted] = value;
  }
  if (namespaces.network === "node") return sysctls;
  sysctls["net.ipv4.ip_unprivileged_port_start"] ??= "0";
  // The range must be mapped in the user namespace that owns the network, or the write fails.
  if (namespaces.userns?.mode !== "pod") sysctls["net.ipv4.ping_group_range"] ??= "0 2147483647";
  return sysctls;
}

/** The sysctls of an ipc namespace (ipc_namespaces(7)); all of fs.mqueue as well. */
const IPC_SYSCTLS: ReadonlySet<string> = new Set(
  ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"].map((name) => `kernel.${name}`),
);

/** The namespace that the sysctl would change for the whole host. */
function sharedWithHost(name: string, namespaces: NamespaceOptions): string | undefined {
  if (namespaces.network === "node" && name.startsWith("net.")) return "network";
  if (namespaces.ipc === "node" && (IPC_SYSCTLS.has(name) || name.startsWith("fs.mqueue."))) return "ipc";
  return undefined;
}

function swapSeparators(name: string): string {
  return name.replace(/[./]/g, (separator) => (separator === "/" ? "." : "/"));
}

/** Whether a sysctl names an interface or changes what a CNI plugin does: the pod's network must be set up before it is written. */
export function touchesInterfaces(name: string): boolean {
  return /^net[./](ipv4|ipv6)[./](conf|neigh)[./]/.test(name) || /^net[./]mpls[./]conf[./]/.test(name) || /^net[./]ipv6[./]/.test(name);
}
