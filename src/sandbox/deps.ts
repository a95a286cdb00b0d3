import type { Logger } from "../base/log.ts";
import type { CniPod } from "../cni/runtime-args.ts";
import type { ContainerShim, ShimCleaner } from "../container/deps.ts";
import type { LifecycleEvent } from "../container/events.ts";
import type { LinuxResources as PluginResources, PodSandbox } from "../nri/messages.ts";
import type { SpecHost } from "../oci/host.ts";
import type { CniAttachment } from "../records/cni-attachment.ts";
import type { CniRetryRecord } from "../records/cni-retry-record.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { SecurityProfile } from "../records/pod-config.ts";
import type { SandboxRecord } from "../records/sandbox-record.ts";
import type { ShimAddress } from "../records/task-process.ts";
import type { ShimProcess } from "../shim/shim-processes.ts";
import type { RuncOptions } from "../shim/task-types.ts";
import type { RootfsMount } from "../snapshot/snapshotter.ts";
import type { Table } from "../store/table.ts";

/*
 * What sandboxes need of the rest, said from this side: the drivers satisfy these by shape, and a test gives a small real one.
 */

/** The pod's shim, with what only its owner may do. */
export interface PodShim extends ContainerShim {
  /** Asks the shim to end; it does so once no task is left in it. */
  shutdown(id: string, o: { signal: AbortSignal }): Promise<void>;
  /** Closes the connection; the shim lives on. */
  close(): void;
}

export interface PodShims extends ShimCleaner {
  start(o: { id: string; bundle: string; binary: string; runtimeOptions: RuncOptions }, s: { signal: AbortSignal }): Promise<PodShim>;
  /** @throws unavailable when nothing answers at the address */
  connect(id: string, address: ShimAddress, o: { bundle: string; signal: AbortSignal; timeoutMs: number }): Promise<PodShim>;
  /** A shim whose address nobody wrote down; undefined when there is none. */
  find(o: { id: string; bundle: string; binary: string }, s: { signal: AbortSignal; timeoutMs: number }): Promise<PodShim | undefined>;
  /** The shim processes of this daemon, whether anybody remembers them or not. */
  list(): Promise<ShimProcess[]>;
}

export interface PodCni {
  /** What an ADD would attach, to be stored before it. @throws failed-precondition without a network configuration */
  plan(pod: CniPod): CniAttachment[];
  add(a: CniAttachment, pod: CniPod, o: { signal: AbortSignal }): Promise<{ attachment: CniAttachment; ips: string[] }>;
  /** Idempotent; works when the namespace is gone. */
  del(a: CniAttachment, pod: { id: string; netnsPath: string }, o: { signal: AbortSignal }): Promise<void>;
}

export interface PodNetns {
  path(id: string): string;
  create(id: string): Promise<string>;
  /** Idempotent. */
  remove(id: string): Promise<void>;
}

/** The containers, for the cascade of Stop and Remove, and their event stream, which pods share. */
export interface PodContainers {
  list(filter: { sandboxId: string }): readonly { readonly record: { id: string; cgroupsPath?: string } }[];
  stop(id: string, o: { graceMs: number; signal: AbortSignal }): Promise<void>;
  remove(id: string, o: { signal: AbortSignal }): Promise<void>;
  readonly events: { publish(event: LifecycleEvent): void };
}

/** The NRI plugins of the node, as pods need them. */
export interface PodPlugins {
  /** Whether any is there to be told. */
  readonly active: boolean;
  /** Waits while a new plugin learns of what there is. Held from a pod's first event until it can be listed. */
  enter(o: { signal: AbortSignal }): Promise<Disposable>;
  podEvent(
    event: "RunPodSandbox" | "UpdatePodSandbox" | "PostUpdatePodSandbox" | "StopPodSandbox" | "RemovePodSandbox",
    request: { pod: PodSandbox; overhead?: PluginResources; resources?: PluginResources },
    o: { signal: AbortSignal },
  ): Promise<void>;
}

/** Only used where `sandbox.image` is configured, or was when a pod was made. */
export interface PauseImages {
  /** Whether there is a root file system of this key. */
  holdsRootfs(key: string): boolean;
  get(ref: string): ImageRecord | undefined;
  pull(ref: string, o: { signal: AbortSignal }): Promise<ImageRecord>;
  rootfs(key: string, image: ImageRecord, o?: { readonly?: boolean }): Promise<RootfsMount[]>;
  releaseRootfs(key: string): Promise<void>;
}

/** A runtime handler of the configuration. */
export interface HandlerConfig {
  shim: string;
  binary: string;
  /** Patterns of annotations that reach the OCI spec; see `passedOn`. */
  podAnnotations: readonly string[];
  containerAnnotations: readonly string[];
  options: {
    SystemdCgroup?: boolean | undefined;
    NoPivotRoot: boolean;
    NoNewKeyring: boolean;
    ShimCgroup: string;
    IoUid: number;
    IoGid: number;
    Root: string;
  };
}

export interface SandboxSettings {
  /** Gone at reboot; `<bundlesDir>/<id>` holds a pod's or container's bundle. */
  bundlesDir: string;
  /** Gone at reboot; `<podsDir>/<id>` holds a pod's resolv.conf, hostname, hosts and /dev/shm. */
  podsDir: string;
  /** Where runc keeps its state, unless a handler says otherwise. */
  runtimeRoot: string;
  /** The built-in pause: a directory with /pause and empty mount points. */
  pauseRootfs: string;
  /** "" = the built-in pause. */
  pauseImage: string;
  defaultHandler: string;
  handlers: Readonly<Record<string, HandlerConfig>>;
  cgroupDriver: "cgroupfs" | "systemd";
  unsetSeccomp?: SecurityProfile;
}

export interface SandboxDeps {
  store: { sandboxes: Table<SandboxRecord>; cniRetries: Table<CniRetryRecord>; transaction<T>(run: () => T, o?: { frees?: boolean }): T };
  shims: PodShims;
  cni: PodCni;
  netns: PodNetns;
  /** The OCI `cgroupsPath` of the task `id` below a pod's cgroup parent. */
  cgroupsPath(parent: string, id: string): string;
  /** By OCI `cgroupsPath`. Both are a success when there is no such cgroup. */
  cgroups: { killAll(path: string): Promise<void>; remove(path: string): Promise<void> };
  images?: PauseImages;
  /** Absent: NRI is off. */
  plugins?: PodPlugins;
  specHost: SpecHost;
  settings: SandboxSettings;
  log: Logger;
  /** How long a step took, in seconds. */
  onStep?: (operation: string, step: string, seconds: number) => void;
}
