import type { ExecSyncResult } from "../container/containers.ts";
import type { EventSubscription } from "../container/events.ts";
import type { ContainerState } from "../container/status.ts";
import type { ContainerConfig } from "../records/container-config.ts";
import type { ContainerRecord } from "../records/container-record.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { LinuxResources, PodConfig } from "../records/pod-config.ts";
import type { ContainerStats, PodSample, PodStats } from "../sandbox/stats/stats.ts";

/*
 * What the RPCs need of the domain, said from this side. `daemon.ts` hands in the real ones; a test hands in small ones.
 * Every id may be a unique prefix of one. Errors are CridErrors.
 */

export interface ContainerView {
  readonly record: ContainerRecord;
  readonly state: ContainerState;
}

export interface ContainerFilter {
  id?: string;
  sandboxId?: string;
  state?: ContainerState;
  labels?: Readonly<Record<string, string>>;
}

export interface Containers {
  create(request: { sandboxId: string; config: ContainerConfig }, o: { signal: AbortSignal }): Promise<string>;
  start(id: string, o: { signal: AbortSignal }): Promise<void>;
  stop(id: string, o: { graceMs: number; signal: AbortSignal }): Promise<void>;
  remove(id: string, o: { signal: AbortSignal }): Promise<void>;
  get(id: string): ContainerView;
  find(id: string): ContainerView | undefined;
  list(filter?: ContainerFilter): ContainerView[];
  execSync(id: string, o: { cmd: string[]; timeoutMs: number; signal: AbortSignal }): Promise<ExecSyncResult>;
  updateResources(id: string, o: { resources: LinuxResources; annotations: Record<string, string>; signal: AbortSignal }): Promise<void>;
  reopenLog(id: string, o: { signal: AbortSignal }): Promise<void>;
  readonly events: { subscribe(o: { signal: AbortSignal; onDropped?: () => void }): EventSubscription };
}

/** A pod as List shows it. */
export interface SandboxView {
  readonly id: string;
  readonly config: PodConfig;
  readonly runtimeHandler: string;
  readonly state: "ready" | "not-ready";
  readonly createdAt: bigint;
}

export interface SandboxStatus extends SandboxView {
  /** Primary first. */
  readonly ips: readonly string[];
}

export interface SandboxFilter {
  id?: string;
  state?: "ready" | "not-ready";
  labels?: Readonly<Record<string, string>>;
}

export interface Sandboxes {
  run(request: { config: PodConfig; runtimeHandler: string }, o: { signal: AbortSignal }): Promise<string>;
  stop(id: string, o: { signal: AbortSignal }): Promise<void>;
  remove(id: string, o: { signal: AbortSignal }): Promise<void>;
  status(id: string): SandboxStatus;
  find(id: string): { readonly id: string } | undefined;
  /** What `crictl inspectp` shows besides. */
  verbose(id: string): Record<string, unknown>;
  list(filter?: SandboxFilter): SandboxView[];
  updateResources(id: string, change: { resources?: LinuxResources; overhead?: LinuxResources }, o: { signal: AbortSignal }): Promise<void>;
}

/** Credentials of a pull, as the kubelet sends them; "" is "not sent". */
export interface PullAuth {
  username: string;
  password: string;
  /** Base64 of "user:password". */
  auth: string;
  serverAddress: string;
  identityToken: string;
  registryToken: string;
}

export interface Images {
  pull(ref: string, o: { auth?: PullAuth; signal: AbortSignal }): Promise<ImageRecord>;
  get(refOrId: string): ImageRecord | undefined;
  list(): ImageRecord[];
  remove(refOrId: string, o: { signal: AbortSignal }): Promise<void>;
  fsInfo(): Promise<{ mountpoint: string; bytes: number; inodes: number }[]>;
}

export interface Stats {
  /** @throws not-found */
  container(id: string, o: { signal: AbortSignal }): Promise<ContainerStats>;
  /** Of containers that run. */
  containers(filter: ContainerFilter, o: { signal: AbortSignal }): Promise<ContainerStats[]>;
  /** @throws not-found */
  pod(id: string, o: { signal: AbortSignal }): Promise<PodStats>;
  /** Of pods that are ready. */
  pods(filter: SandboxFilter, o: { signal: AbortSignal }): Promise<PodStats[]>;
  samples(o: { signal: AbortSignal }): Promise<PodSample[]>;
}

/** The URLs of the streaming server: each is good for one connection within a minute. */
export interface StreamingUrls {
  exec(request: { containerId: string; cmd: string[]; tty: boolean; stdin: boolean; stdout: boolean; stderr: boolean }): string;
  attach(request: { containerId: string; tty: boolean; stdin: boolean; stdout: boolean; stderr: boolean }): string;
  portForward(request: { sandboxId: string; ports: number[] }): string;
}

export interface RuntimeHandlerInfo {
  name: string;
  recursiveReadOnlyMounts: boolean;
  userNamespaces: boolean;
}

/** The node as a whole. */
export interface Node {
  readonly version: string;
  readonly cgroupDriver: "cgroupfs" | "systemd";
  /** The file system that writable layers are on. */
  readonly writableLayers: string;
  /** The daemon's own readiness; false while it cannot run pods at all. */
  runtime(): { ready: boolean; reason: string; message: string };
  network(): { ready: boolean; reason: string; message: string };
  /** "" is the default handler. */
  handlers(): Promise<RuntimeHandlerInfo[]>;
  features(): { supplementalGroupsPolicy: boolean; userNamespacesHostNetwork: boolean; mountOptions: boolean };
  setPodCidr(cidr: string): void;
  /** The values are turned into JSON. `config` holds `sandboxImage`, which kubeadm reads. */
  verbose(): Promise<Record<string, unknown>>;
}

export interface Services {
  /** The OCI spec that a container or pod runs with; undefined when there is none. */
  runtimeSpec: (id: string) => Promise<unknown>;
  stats: Stats;
  containers: Containers;
  sandboxes: Sandboxes;
  images: Images;
  streaming: StreamingUrls;
  node: Node;
}
