/**
 * The OCI runtime configuration, as far as crid writes it: `config.json` of a bundle
 * (https://github.com/opencontainers/runtime-spec, config.md and config-linux.md). Names are the specification's.
 */
export interface OciSpec {
  ociVersion: string;
  process: OciProcess;
  root: { path: string; readonly: boolean };
  hostname?: string;
  mounts: OciMount[];
  hooks?: OciHooks;
  annotations: Record<string, string>;
  linux: OciLinux;
}

/** The oldest version that has all that crid writes but per-mount id maps (1.0.2 + idmap); shims 1.6 to 2.4, runc and crun take it. */
export const OCI_VERSION = "1.1.0";

export interface OciProcess {
  terminal: boolean;
  consoleSize?: { height: number; width: number };
  user: OciUser;
  args: string[];
  env: string[];
  cwd: string;
  capabilities: OciCapabilities;
  rlimits?: OciRlimit[];
  noNewPrivileges: boolean;
  apparmorProfile?: string;
  selinuxLabel?: string;
  oomScoreAdj?: number;
  scheduler?: OciScheduler;
  ioPriority?: { class: string; priority: number };
}

/** sched_setattr(2). Runtime, deadline and period in nanoseconds. */
export interface OciScheduler {
  policy: string;
  nice?: number;
  priority?: number;
  flags?: string[];
  runtime?: number;
  deadline?: number;
  period?: number;
}

export interface OciUser {
  uid: number;
  gid: number;
  additionalGids: number[];
}

export interface OciCapabilities {
  bounding: string[];
  effective: string[];
  permitted: string[];
  inheritable: string[];
  ambient: string[];
}

/** RLIM_INFINITY is 2^64 - 1, which no number holds: see json.ts. */
export interface OciRlimit {
  type: string;
  hard: number | bigint;
  soft: number | bigint;
}

export interface OciMount {
  destination: string;
  type: string;
  source: string;
  options: string[];
  uidMappings?: OciIdMapping[];
  gidMappings?: OciIdMapping[];
}

export interface OciIdMapping {
  containerID: number;
  hostID: number;
  size: number;
}

/** Programs that the OCI runtime runs at points of the container's life (config.md, "POSIX-platform Hooks"). */
export interface OciHooks {
  /** Deprecated in favour of the next three, yet what older vendors' files still name. */
  prestart?: OciHook[];
  createRuntime?: OciHook[];
  createContainer?: OciHook[];
  startContainer?: OciHook[];
  poststart?: OciHook[];
  poststop?: OciHook[];
}

export interface OciHook {
  /** Absolute, on the host; of startContainer: in the container. */
  path: string;
  /** As execv's argv: the first is the program's name. */
  args?: string[];
  env?: string[];
  /** Seconds. */
  timeout?: number;
}

export type OciNamespaceType = "pid" | "network" | "mount" | "ipc" | "uts" | "user" | "cgroup";

export interface OciNamespace {
  type: OciNamespaceType;
  /** Absent: a new namespace. */
  path?: string;
}

export interface OciLinux {
  namespaces: OciNamespace[];
  uidMappings?: OciIdMapping[];
  gidMappings?: OciIdMapping[];
  devices?: OciDevice[];
  /** By the name on the host: interfaces that move into the container's network namespace. Runtime-spec 1.3.0; runc from 1.4 on. */
  netDevices?: Record<string, OciNetDevice>;
  cgroupsPath: string;
  resources: OciResources;
  rootfsPropagation?: string;
  seccomp?: OciSeccomp;
  sysctl?: Record<string, string>;
  intelRdt?: OciIntelRdt;
  /** set_mempolicy(2). Runtime-spec 1.3.0. */
  memoryPolicy?: { mode: string; nodes?: string; flags?: string[] };
  maskedPaths: string[];
  readonlyPaths: string[];
  mountLabel?: string;
}

export interface OciDevice {
  type: "c" | "b" | "u" | "p";
  path: string;
  major?: number;
  minor?: number;
  fileMode?: number;
  uid?: number;
  gid?: number;
}

export interface OciNetDevice {
  /** In the container. */
  name?: string;
}

/** The resctrl group that the container's processes are put into. */
export interface OciIntelRdt {
  closID?: string;
  l3CacheSchema?: string;
  memBwSchema?: string;
  schemata?: string[];
  enableMonitoring?: boolean;
}

export interface OciDeviceRule {
  allow: boolean;
  type?: "a" | "b" | "c";
  major?: number;
  minor?: number;
  access: string;
}

/** `linux.resources`; also the body of the shim's Update call. */
export interface OciResources {
  devices?: OciDeviceRule[];
  cpu?: {
    shares?: number;
    quota?: number;
    period?: number;
    realtimeRuntime?: number;
    realtimePeriod?: number;
    cpus?: string;
    mems?: string;
  };
  memory?: {
    limit?: number;
    reservation?: number;
    swap?: number;
    kernel?: number;
    kernelTCP?: number;
    swappiness?: number;
    disableOOMKiller?: boolean;
    useHierarchy?: boolean;
  };
  pids?: { limit: number };
  hugepageLimits?: { pageSize: string; limit: number }[];
  blockIO?: OciBlockIo;
  unified?: Record<string, string>;
}

export interface OciBlockIo {
  /** 10 to 1000. */
  weight?: number;
  leafWeight?: number;
  weightDevice?: { major: number; minor: number; weight?: number; leafWeight?: number }[];
  /** Bytes a second. */
  throttleReadBpsDevice?: OciThrottleDevice[];
  throttleWriteBpsDevice?: OciThrottleDevice[];
  /** Operations a second. */
  throttleReadIOPSDevice?: OciThrottleDevice[];
  throttleWriteIOPSDevice?: OciThrottleDevice[];
}

export interface OciThrottleDevice {
  major: number;
  minor: number;
  rate: number;
}

export interface OciSeccomp {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: string[];
  flags?: string[];
  listenerPath?: string;
  listenerMetadata?: string;
  syscalls?: OciSyscallRule[];
}

export interface OciSyscallRule {
  names: string[];
  action: string;
  errnoRet?: number;
  args?: { index: number; value: number | bigint; valueTwo?: number | bigint; op: string }[];
}
