import { isIP } from "node:net";
import type { runtime } from "../../../api/cri/runtime/v1/api.js";
import type { DnsConfig, PodConfig, PodSecurity, PortMapping } from "../../records/pod-config.ts";
import { badField, filled, name, printable, required, texts, word } from "./fields.ts";
import { toResources } from "./resources.ts";
import { toGroups, toGroupsPolicy, toNamespaces, toProfile, toRunAs, toSelinux } from "./security.ts";

const protocols: readonly PortMapping["protocol"][] = ["tcp", "udp", "sctp"];

/**
 * The pod of a request, checked.
 *
 * @param path where the message is in the request, for errors
 * @throws invalid-argument naming the field
 */
export function toPodConfig(message: runtime.v1.PodSandboxConfig | null | undefined, path = "config"): PodConfig {
  const config = required(message, path);
  const metadata = required(config.metadata, `${path}.metadata`);
  const { linux } = config;
  return {
    name: name(filled(metadata.name, `${path}.metadata.name`), `${path}.metadata.name`),
    namespace: name(filled(metadata.namespace, `${path}.metadata.namespace`), `${path}.metadata.namespace`),
    uid: name(metadata.uid, `${path}.metadata.uid`),
    attempt: metadata.attempt,
    hostname: hostname(config.hostname, `${path}.hostname`),
    logDirectory: logDirectory(config.logDirectory, `${path}.log_directory`),
    ...(config.dnsConfig && { dns: toDns(config.dnsConfig, `${path}.dns_config`) }),
    portMappings: config.portMappings.map((port, index) => toPortMapping(port, `${path}.port_mappings[${index}]`)),
    labels: texts(config.labels, `${path}.labels`),
    annotations: texts(config.annotations, `${path}.annotations`),
    cgroupParent: printable(linux?.cgroupParent ?? "", `${path}.linux.cgroup_parent`),
    sysctls: toSysctls(linux?.sysctls ?? {}, `${path}.linux.sysctls`),
    ...(linux?.overhead && { overhead: toResources(linux.overhead, `${path}.linux.overhead`) }),
    ...(linux?.resources && { resources: toResources(linux.resources, `${path}.linux.resources`) }),
    security: toPodSecurity(linux?.securityContext, `${path}.linux.security_context`),
  };
}

function toDns(message: runtime.v1.DNSConfig, path: string): DnsConfig {
  // A line break would let a search domain name a server.
  const lines = (values: readonly string[], field: string): string[] =>
    values.map((value, index) => printable(value, `${path}.${field}[${index}]`));
  return {
    servers: lines(message.servers, "servers"),
    searches: lines(message.searches, "searches"),
    options: lines(message.options, "options"),
  };
}

/** The domain checks the names. */
function toSysctls(sysctls: Readonly<Record<string, string>>, path: string): Record<string, string> {
  for (const [key, value] of Object.entries(sysctls)) {
    // The kernel reads one line, with tabs between numbers.
    printable(value.replaceAll("\t", " "), `${path}[${JSON.stringify(key)}]`);
  }
  return { ...sysctls };
}

function toPodSecurity(message: runtime.v1.LinuxSandboxSecurityContext | null | undefined, path: string): PodSecurity {
  const seccomp = toProfile(message?.seccomp, message?.seccompProfilePath ?? "", `${path}.seccomp`);
  const apparmor = toProfile(message?.apparmor, "", `${path}.apparmor`);
  const selinux = toSelinux(message?.selinuxOptions);
  const namespaces = toNamespaces(message?.namespaceOptions, `${path}.namespace_options`);
  if (namespaces.pid === "target") throw badField(`${path}.namespace_options.pid`, "TARGET is for containers");
  return {
    namespaces,
    privileged: message?.privileged ?? false,
    readonlyRootfs: message?.readonlyRootfs ?? false,
    ...toRunAs(message?.runAsUser, message?.runAsGroup, path),
    supplementalGroups: toGroups(message?.supplementalGroups ?? [], `${path}.supplemental_groups`),
    supplementalGroupsPolicy: toGroupsPolicy(message?.supplementalGroupsPolicy ?? 0, `${path}.supplemental_groups_policy`),
    ...(seccomp && { seccomp }),
    ...(apparmor && { apparmor }),
    ...(selinux && { selinux }),
  };
}

function toPortMapping(message: runtime.v1.PortMapping, path: string): PortMapping {
  return {
    protocol: word(protocols, message.protocol, `${path}.protocol`),
    containerPort: port(message.containerPort, `${path}.container_port`),
    hostPort: port(message.hostPort, `${path}.host_port`),
    hostIp: hostIp(message.hostIp, `${path}.host_ip`),
  };
}

function port(value: number, path: string): number {
  if (value < 0 || value > 65_535) throw badField(path, `${value} is no port`);
  return value;
}

function hostIp(value: string, path: string): string {
  if (value !== "" && isIP(value) === 0) throw badField(path, `${JSON.stringify(value)} is no IP address`);
  return value;
}

function hostname(value: string, path: string): string {
  if (Buffer.byteLength(value) > 64) throw badField(path, "is longer than the 64 bytes that Linux allows");
  if (/\s/.test(value)) throw badField(path, `${JSON.stringify(value)} contains white space`);
  return printable(value, path);
}

function logDirectory(value: string, path: string): string {
  if (value !== "" && !value.startsWith("/")) throw badField(path, `${JSON.stringify(value)} is not an absolute path`);
  return printable(value, path);
}
