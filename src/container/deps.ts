import type { Writable } from "node:stream";
import type { ResolvedEdits } from "../cdi/cdi.ts";
import type { BlockIoLimits } from "../classes/block-io.ts";
import type { ContainerAdjustment, ContainerRequest, LinuxResources as PluginResources, PodSandbox } from "../nri/messages.ts";
import type { ContainerRecord } from "../records/container-record.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { PodConfig } from "../records/pod-config.ts";
import type { ShimAddress } from "../records/task-process.ts";
import type { CreateTask, DeletedTask, ExecTask, RuncOptions, TaskExit, TaskState } from "../shim/task-types.ts";
import type { DiskUsage, Idmap, RootfsMount } from "../snapshot/snapshotter.ts";

/*
 * What containers need of the rest, said from this side: the drivers and the sandboxes satisfy these by shape, and a test gives a small
 * real one.
 */

/** The pod's shim: the task service of one `containerd-shim-runc-v2`. */
export interface ContainerShim {
  readonly address: ShimAddress;
  /** The shim process. */
  readonly pid: number;
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>;
  create(task: CreateTask, o: { signal: AbortSignal }): Promise<{ pid: number }>;
  start(id: string, o: { execId?: string; signal: AbortSignal }): Promise<{ pid: number }>;
  wait(id: string, o: { execId?: string; signal?: AbortSignal }): Promise<TaskExit>;
  delete(id: string, o: { execId?: string; signal: AbortSignal }): Promise<DeletedTask>;
  exec(id: string, exec: ExecTask, s: { signal: AbortSignal }): Promise<void>;
  kill(id: string, o: { signal: number; all: boolean; execId?: string }, s: { signal: AbortSignal }): Promise<void>;
  state(id: string, o: { execId?: string; signal: AbortSignal }): Promise<TaskState>;
  resizePty(id: string, o: { execId?: string; width: number; height: number }, s: { signal: AbortSignal }): Promise<void>;
  closeIO(id: string, o: { execId?: string }, s: { signal: AbortSignal }): Promise<void>;
  update(id: string, resources: object, annotations: Record<string, string>, s: { signal: AbortSignal }): Promise<void>;
}

/** Cleans up after a shim that died. */
export interface ShimCleaner {
  delete(o: { id: string; bundle: string; binary: string }, s: { signal: AbortSignal }): Promise<DeletedTask>;
}

/** The pod that a container belongs to, as its containers see it. `sandbox/` implements it. */
export interface PodContext {
  readonly id: string;
  readonly config: PodConfig;
  readonly runtimeHandler: string;
  /** False once the pod was stopped or its pause process died: nothing is created or started in it then. */
  readonly ready: boolean;
  /** "" on the host's network. */
  readonly netnsPath: string;
  /** The process whose namespaces the containers join. */
  readonly pausePid: number;
  /** The OCI `cgroupsPath` of a container of this pod, in the form that the cgroup driver in use takes. */
  containerCgroupsPath(containerId: string): string;
  /** The pod's files on the host; "" = none. `shm` is the mounted tmpfs. */
  readonly dirs: { resolvConf: string; hostname: string; hosts: string; shm: string };
  /** The SELinux label of the pod's process; "" without SELinux. */
  readonly selinuxLabel: string;
  readonly runtime: {
    options: RuncOptions;
    shimBinary: string;
    podAnnotations: readonly string[];
    containerAnnotations: readonly string[];
  };
  /** As NRI plugins see it. */
  forPlugins(): PodSandbox;
  /** Connects to the pod's shim if need be. @throws unavailable when it is dead */
  shim(o: { signal: AbortSignal }): Promise<ContainerShim>;
}

/** The NRI plugins of the node, as containers need them. */
export interface ContainerPlugins {
  /** Whether any is there to be told. */
  readonly active: boolean;
  /** Whether anybody, a plugin or the built-in validator, has a say in what is created. */
  readonly adjusting: boolean;
  /** Waits while a new plugin learns of what there is. Held from a container's first event until it can be listed. */
  enter(o: { signal: AbortSignal }): Promise<Disposable>;
  createContainer(request: ContainerRequest, o: { signal: AbortSignal }): Promise<ContainerAdjustment>;
  updateContainer(request: ContainerRequest & { resources: PluginResources }, o: { signal: AbortSignal }): Promise<PluginResources>;
  stopContainer(request: ContainerRequest, o: { signal: AbortSignal }): Promise<void>;
  containerEvent(
    event: "PostCreateContainer" | "StartContainer" | "PostStartContainer" | "PostUpdateContainer" | "RemoveContainer",
    request: ContainerRequest,
    o: { signal: AbortSignal },
  ): Promise<void>;
}

export interface Pods {
  /** The pod with this id or unique prefix. @throws not-found, invalid-argument (ambiguous) */
  get(id: string): PodContext;
  find(id: string): PodContext | undefined;
}

/** The images and the root file systems made of them. */
export interface ContainerImages {
  /** By id, reference or unique prefix of an id. */
  get(ref: string): ImageRecord | undefined;
  /** Makes the root file system `key` of the image and returns its mounts; the same mounts when called again. */
  rootfs(key: string, image: ImageRecord, o?: { readonly?: boolean; idmap?: Idmap }): Promise<RootfsMount[]>;
  /** Idempotent. */
  releaseRootfs(key: string): Promise<void>;
  /** What the container wrote. */
  rootfsUsage(key: string): Promise<DiskUsage>;
  /** Mounts an image read-only on the host (KEP-4639) and returns where; the same path when called again. Idempotent to release. */
  mountVolume(key: string, image: ImageRecord, o?: { idmap?: Idmap }): Promise<string>;
  releaseVolume(key: string): Promise<void>;
}

/** The client of the logger process. */
export interface ContainerLogger {
  open(
    o: { id: string; logPath: string; stdin?: string; stdout: string; stderr: string; tty: boolean },
    s: { signal: AbortSignal },
  ): Promise<void>;
  created(id: string): Promise<void>;
  drained(id: string, o: { timeoutMs: number; signal?: AbortSignal }): Promise<boolean>;
  reopen(id: string, logPath: string | undefined, o: { signal: AbortSignal }): Promise<void>;
  close(id: string): Promise<void>;
  attach(id: string, o: { stdout?: Writable; stderr?: Writable; onAttached?: () => void; signal: AbortSignal }): Promise<void>;
}

/** The devices of the Container Device Interface. */
export interface CdiDevices {
  /** @throws failed-precondition naming devices that no spec file has */
  resolve(names: readonly string[]): Promise<ResolvedEdits>;
}

/** Resource classes by name; undefined: this node has none, and that is to be ignored. */
export interface ResourceClasses {
  blockIo: { resolve(name: string): Promise<BlockIoLimits | undefined> };
  rdt: { resolve(name: string): Promise<{ closID: string } | undefined> };
}

/** The table of the store. */
export interface ContainerTable {
  put(record: ContainerRecord): void;
  get(id: string): ContainerRecord | undefined;
  all(): ContainerRecord[];
  delete(id: string): void;
}

export interface ContainerPaths {
  /** Survives a reboot; `<containersDir>/<id>` holds the volumes that the image declares. */
  containersDir: string;
  /** Gone at reboot; `<bundlesDir>/<id>` is a container's bundle: config.json, rootfs, fifos. Pods' bundles lie beside it. */
  bundlesDir: string;
}

/** The cgroups of containers. `path` is an OCI cgroupsPath as `PodContext.containerCgroupsPath` gives it. */
export interface ContainerCgroups {
  /** How many processes of it the kernel has killed for lack of memory; 0 when it is gone. */
  oomKills(path: string): Promise<number>;
  /** The names of the cgroups right below it; none when it is gone. */
  children(path: string): Promise<string[]>;
  /** Kills every process in it. */
  killAll(path: string): Promise<void>;
  /** A success when there is none. */
  remove(path: string): Promise<void>;
}
