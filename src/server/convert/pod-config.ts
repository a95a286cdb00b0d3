import type { runtime } from "../../../api/cri/runtime/v1/api.js";
import type { PodConfig, PodSecurity, PortMapping } from "../../records/pod-config.ts";
import { badField, filled, required, withoutNul, word } from "./fields.ts";
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
  if (config.hostname.length > 64) throw badField(`${path}.hostname`, "is longer than the 64 characters that Linux allows");
  return {
    name: filled(metadata.name, `${path}.metadata.name`),
    namespace: filled(metadata.namespace, `${path}.metadata.namespace`),
    uid: metadata.uid,
    attempt: metadata.attempt,
    hostname: withoutNul(config.hostname, `${path}.hostname`),
    logDirectory: logDirectory(config.logDirectory, `${path}.log_directory`),
    ...(config.dnsConfig && {
      dns: { servers: config.dnsConfig.servers, searches: config.dnsConfig.searches, options: config.dnsConfig.options },
    }),
    portMappings: config.portMappings.map((port, index) => toPortMapping(port, `${path}.port_mappings[${index}]`)),
    labels: { ...config.labels },
    annotations: { ...config.annotations },
    cgroupParent: linux?.cgroupParent ?? "",
    sysctls: { ...linux?.sysctls },
    ...(linux?.overhead && { overhead: toResources(linux.overhead, `${path}.linux.overhead`) }),
    ...(linux?.resources && { resources: toResources(linux.resources, `${path}.linux.resources`) }),
    security: toPodSecurity(linux?.securityContext, `${path}.linux.security_context`),
  };
}

function toPodSecurity(message: runtime.v1.LinuxSandboxSecurityContext | null | undefined, path: string): PodSecurity {
  const seccomp = toProfile(message?.seccomp, message?.seccompProfilePath ?? "", `${path}.seccomp`);
  const apparmor = toProfile(message?.apparmor, "", `${path}.apparmor`);
  const selinux = toSelinux(message?.selinuxOptions);
  return {
    namespaces: toNamespaces(message?.namespaceOptions, `${path}.namespace_options`),
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
    hostIp: message.hostIp,
  };
}

function port(value: number, path: string): number {
  if (value < 0 || value > 65_535) throw badField(path, `${value} is no port`);
  return value;
}

function logDirectory(value: string, path: string): string {
  if (value !== "" && !value.startsWith("/")) throw badField(path, `${JSON.stringify(value)} is not an absolute path`);
  return withoutNul(value, path);
}
