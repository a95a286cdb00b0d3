/**
 * A pod as the kubelet asked for it. Field for field the CRI's PodSandboxConfig (k8s.io/cri-api v1) without the Windows
 * parts, as plain JSON: this is what the store keeps, so a field may be added here but never change its meaning.
 */
export interface PodConfig {
  name: string;
  uid: string;
  namespace: string;
  attempt: number;
  hostname: string;
  /** The pod's log directory on the host; "" when the caller gave none. */
  logDirectory: string;
  /** Absent: take the host's resolv.conf. */
  dns?: DnsConfig;
  portMappings: PortMapping[];
  labels: Record<string, string>;
  annotations: Record<string, string>;
  cgroupParent: string;
  sysctls: Record<string, string>;
  /** What all containers together may use, as the kubelet computes it (KEP-2837); absent when not sent. */
  overhead?: LinuxResources;
  resources?: LinuxResources;
  security: PodSecurity;
}

export interface DnsConfig {
  servers: string[];
  searches: string[];
  options: string[];
}

export interface PortMapping {
  protocol: "tcp" | "udp" | "sctp";
  containerPort: number;
  /** 0: not mapped on the host. */
  hostPort: number;
  /** "" = every address. */
  hostIp: string;
}

/** Whose namespace: the pod's, the container's own, the host's, or that of another container (ephemeral debug containers). */
export type NamespaceMode = "pod" | "container" | "node" | "target";

export interface UserNamespace {
  /** "pod": an own user namespace with the maps below; "node": the host's. */
  mode: "pod" | "node";
  uids: IdMapping[];
  gids: IdMapping[];
}

export interface IdMapping {
  hostId: number;
  containerId: number;
  length: number;
}

export interface NamespaceOptions {
  network: NamespaceMode;
  pid: NamespaceMode;
  ipc: NamespaceMode;
  /** The container whose pid namespace is joined when pid is "target". */
  targetId: string;
  userns?: UserNamespace;
}

export interface SecurityProfile {
  type: "runtime-default" | "unconfined" | "localhost";
  /** The profile's path or name; only for "localhost". */
  localhostRef: string;
}

export interface SelinuxOptions {
  user: string;
  role: string;
  type: string;
  level: string;
}

export type SupplementalGroupsPolicy = "merge" | "strict";

export interface PodSecurity {
  namespaces: NamespaceOptions;
  privileged: boolean;
  readonlyRootfs: boolean;
  /** Absent: root, or what the image says. */
  runAsUser?: number;
  runAsGroup?: number;
  supplementalGroups: number[];
  supplementalGroupsPolicy: SupplementalGroupsPolicy;
  seccomp?: SecurityProfile;
  apparmor?: SecurityProfile;
  selinux?: SelinuxOptions;
}

/** LinuxContainerResources of the CRI. 0 and "" mean "not set", as there. */
export interface LinuxResources {
  cpuPeriod: number;
  cpuQuota: number;
  cpuShares: number;
  memoryLimitBytes: number;
  oomScoreAdj: number;
  cpusetCpus: string;
  cpusetMems: string;
  hugepageLimits: { pageSize: string; limit: number }[];
  /** cgroup v2 files and their values, written as they are. */
  unified: Record<string, string>;
  memorySwapLimitBytes: number;
}
