import { join } from "node:path";
import { CridError } from "../base/errors.ts";
import type { KeyedMutex } from "../base/keyed-mutex.ts";
import type { Logger } from "../base/log.ts";
import type { SpecHost } from "../oci/host.ts";
import type { ContainerRecord } from "../records/container-record.ts";
import type { SecurityProfile } from "../records/pod-config.ts";
import type {
  CdiDevices,
  ContainerCgroups,
  ContainerImages,
  ContainerLogger,
  ContainerPaths,
  ContainerPlugins,
  ContainerTable,
  PodContext,
  Pods,
  ResourceClasses,
  ShimCleaner,
} from "./deps.ts";
import type { ContainerEntry } from "./entry.ts";
import type { LifecycleEvents } from "./events.ts";
import type { PodOomCounts } from "./oom-counts.ts";

/** Everything the operations on containers share. */
export interface ContainerContext {
  readonly pods: Pods;
  readonly images: ContainerImages;
  readonly logger: ContainerLogger;
  readonly shims: ShimCleaner;
  readonly cgroups: ContainerCgroups;
  readonly oomCounts: PodOomCounts;
  readonly cdi: CdiDevices;
  readonly classes: ResourceClasses;
  /** Absent: NRI is off. */
  readonly plugins?: ContainerPlugins;
  readonly table: ContainerTable;
  readonly paths: ContainerPaths;
  readonly host: SpecHost;
  readonly settings: ContainerSettings;
  readonly log: Logger;
  readonly events: LifecycleEvents;
  /** By id. A container that is being created is not here yet. */
  readonly entries: Map<string, ContainerEntry>;
  /** By container id. */
  readonly locks: KeyedMutex;
  /**
   * By container id: who changes its limits, and the moment in which its task comes to be. Taken after `locks`, and never kept while anything
   * else is waited for but the shim: plugins change the limits of containers that others are at work on.
   */
  readonly limitLocks: KeyedMutex;
  /** Aborts when the daemon stops: watching ends, containers live on. */
  readonly shutdown: AbortSignal;
}

export interface ContainerSettings {
  /** How long an exec's output may outlive its process, because a background child holds it. */
  drainExecTimeoutMs: number;
  /** The same for a container's own output, before its exit is reported. */
  drainExitTimeoutMs: number;
  /** What a seccomp profile that the kubelet did not set means; absent: unconfined. */
  unsetSeccomp?: SecurityProfile;
}

export const bundlePath = (context: Pick<ContainerContext, "paths">, id: string): string => join(context.paths.bundlesDir, id);
/** Fifos of a container's process, and of the execs in it. */
export const ioPath = (context: Pick<ContainerContext, "paths">, id: string): string => join(bundlePath(context, id), "io");
/** The OCI cgroupsPath of the container: its pod's, or what a plugin has set. undefined when the pod is gone. */
export function cgroupsPathOf(context: Pick<ContainerContext, "pods">, record: ContainerRecord): string | undefined {
  return record.cgroupsPath ?? context.pods.find(record.sandboxId)?.containerCgroupsPath(record.id);
}

export const dataPath = (context: Pick<ContainerContext, "paths">, id: string): string => join(context.paths.containersDir, id);

/** The container with this id or unique prefix, undefined when there is none. @throws invalid-argument when several match */
export function findEntry(context: Pick<ContainerContext, "entries">, id: string): ContainerEntry | undefined {
  const exact = context.entries.get(id);
  if (exact !== undefined || id === "") return exact;
  const matches = [...context.entries.values()].filter((entry) => entry.id.startsWith(id));
  if (matches.length > 1)
    throw new CridError("invalid-argument", `container id prefix "${id}" is ambiguous: ${matches.length} containers match`);
  return matches[0];
}

/** @throws not-found, invalid-argument (ambiguous prefix) */
export function getEntry(context: Pick<ContainerContext, "entries">, id: string): ContainerEntry {
  const entry = findEntry(context, id);
  if (entry === undefined) throw new CridError("not-found", `container "${id}": not found`);
  return entry;
}

/** The container's pod, ready. @throws not-found, failed-precondition */
export function readyPod(pod: PodContext, step: string): PodContext {
  if (!pod.ready) throw new CridError("failed-precondition", `${step}: sandbox container "${pod.id}" is not running`);
  return pod;
}
