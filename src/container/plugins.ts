import { CridError, isErrno } from "../base/errors.ts";
import { raceAbort } from "../base/keyed-mutex.ts";
import { type Container, type ContainerAdjustment, type ContainerRequest, v1 } from "../nri/messages.ts";
import { adjustSpec } from "../oci/adjust-spec.ts";
import { injectCdiEdits } from "../oci/cdi-edits.ts";
import { criResourcesOf } from "../oci/plugin-resources.ts";
import { profileForPlugins, specForPlugins } from "../oci/plugin-view.ts";
import { mergeResources } from "../oci/resources.ts";
import type { OciSpec } from "../oci/spec.ts";
import type { ContainerRecord } from "../records/container-record.ts";
import { readSpec } from "./bundle-spec.ts";
import type { ContainerContext } from "./context.ts";
import type { PodContext } from "./deps.ts";
import type { ContainerEntry } from "./entry.ts";
import { namedClasses } from "./resource-classes.ts";
import { type ContainerState, stateOf } from "./status.ts";

/** How long plugins may take to hear of an end: several in a row may each take their time. */
const NOTICE_TIMEOUT_MS = 30_000;

type Notice = "PostCreateContainer" | "PostStartContainer" | "PostUpdateContainer" | "RemoveContainer";

/**
 * Lets the plugins change the spec of a container that is being created, in place. Call it while the plugins' gate is entered.
 *
 * @returns the record as it is now: limits and cgroup may be others
 * @throws failed-precondition when a plugin refuses, or they contradict each other
 */
export async function adjustByPlugins(
  context: ContainerContext,
  from: { record: ContainerRecord; pod: PodContext; spec: OciSpec },
  options: { signal: AbortSignal },
): Promise<ContainerRecord> {
  const { plugins } = context;
  const { record, pod, spec } = from;
  if (plugins === undefined) return record;
  const container = containerForPlugins(context, record, spec);
  const adjustment = await plugins.createContainer({ pod: pod.forPlugins(), container }, options);
  const names = adjustment.CDIDevices.map(({ name }) => name);
  // First, as in the order of a request: what a plugin says by itself counts more than a vendor's file.
  if (names.length > 0) injectCdiEdits(spec, await context.cdi.resolve(names));
  adjustSpec(spec, adjustment, { host: context.host, ...(await namedClasses(context.classes, adjustment.linux?.resources)) });
  return adjustedRecord(record, adjustment, spec);
}

/** Plugins have been told of a container that will not be: they must let go of what they keep for it. Never fails. */
export async function tellUndone(
  context: ContainerContext,
  from: { record: ContainerRecord; pod: PodContext; spec: OciSpec },
  options: { signal: AbortSignal },
): Promise<void> {
  const { plugins, log } = context;
  if (plugins === undefined) return;
  const request = { pod: from.pod.forPlugins(), container: containerForPlugins(context, from.record, from.spec) };
  try {
    await plugins.stopContainer(request, options);
    await plugins.containerEvent("RemoveContainer", request, options);
  } catch (error) {
    log.warn({ container: from.record.id, err: error }, "NRI plugins could not be told of a container whose creation failed");
  }
}

/** Asks the plugins whether the container may start. @throws failed-precondition when one refuses */
export async function askToStart(
  context: ContainerContext,
  entry: ContainerEntry,
  pid: number,
  options: { signal: AbortSignal },
): Promise<void> {
  const { plugins } = context;
  if (plugins?.active !== true) return;
  // What it was told of the creation comes first.
  await raceAbort(entry.notices, options.signal);
  using _hold = await plugins.enter(options);
  const request = await requestFor(context, entry);
  await plugins.containerEvent("StartContainer", { ...request, container: { ...request.container, pid } }, options);
}

/**
 * Tells the plugins, after all that they were told of this container before. What they answer changes nothing, so it is only logged.
 *
 * @returns when they have been told
 */
export function tellPlugins(context: ContainerContext, entry: ContainerEntry, event: Notice): Promise<void> {
  if (context.plugins?.active !== true) return entry.notices;
  return notice(context, entry, event, async (plugins, request, options) => plugins.containerEvent(event, request, options));
}

/** Tells the plugins, once, that the container has ended or will never run. */
export function tellStopped(context: ContainerContext, entry: ContainerEntry): Promise<void> {
  if (entry.stopTold) return entry.notices;
  entry.stopTold = true;
  if (context.plugins?.active !== true) return entry.notices;
  return notice(context, entry, "StopContainer", async (plugins, request, options) => plugins.stopContainer(request, options));
}

type Plugins = NonNullable<ContainerContext["plugins"]>;

function notice(
  context: ContainerContext,
  entry: ContainerEntry,
  event: string,
  tell: (plugins: Plugins, request: ContainerRequest, options: { signal: AbortSignal }) => Promise<void>,
): Promise<void> {
  const { plugins, log } = context;
  if (plugins === undefined) return entry.notices;
  const told = async (): Promise<void> => {
    const signal = AbortSignal.any([context.shutdown, AbortSignal.timeout(NOTICE_TIMEOUT_MS)]);
    try {
      using _hold = await plugins.enter({ signal });
      await tell(plugins, await requestFor(context, entry), { signal });
    } catch (error) {
      if (!context.shutdown.aborted) log.warn({ container: entry.id, event, err: error }, "an NRI plugin did not take a notice");
    }
  };
  entry.notices = entry.notices.then(told);
  return entry.notices;
}

/** The containers that a new plugin is told of: those that are created or run. */
export async function listForPlugins(context: ContainerContext): Promise<Container[]> {
  const entries = [...context.entries.values()].filter(({ state, record }) => state !== "exited" && !record.status.removing);
  return Promise.all(entries.map(async (entry) => (await requestFor(context, entry)).container));
}

/** A container and its pod as plugins see them now. */
export async function requestFor(context: ContainerContext, entry: ContainerEntry): Promise<ContainerRequest> {
  const { record } = entry;
  const pod = context.pods.find(record.sandboxId)?.forPlugins() ?? { id: record.sandboxId };
  let spec: OciSpec | undefined;
  try {
    spec = await readSpec(context, entry.id);
  } catch (error) {
    // The state directory was emptied; the plugin must hear of the end all the same.
    if (!isErrno(error, "ENOENT")) throw CridError.from(error, `read the spec of container ${entry.id}`);
  }
  return { pod, container: containerForPlugins(context, record, spec) };
}

function containerForPlugins(context: Pick<ContainerContext, "images">, record: ContainerRecord, spec: OciSpec | undefined): Container {
  const { config, status } = record;
  const { linux, ...parts } = spec === undefined ? { linux: undefined } : specForPlugins(spec);
  const { seccomp } = config.security;
  return {
    ...parts,
    id: record.id,
    podSandboxId: record.sandboxId,
    name: config.name,
    state: status.creating ? v1.ContainerState.CONTAINER_UNKNOWN : PLUGIN_STATES[stateOf(status)],
    labels: config.labels,
    annotations: { ...spec?.annotations, ...config.annotations },
    linux: { ...linux, ...(seccomp !== undefined && { seccompProfile: profileForPlugins(seccomp) }) },
    pid: status.process?.pid ?? 0,
    createdAt: status.creating ? 0n : status.createdAt,
    startedAt: status.startedAt,
    finishedAt: status.finishedAt,
    exitCode: status.exitCode,
    statusReason: status.reason,
    statusMessage: status.message,
    CDIDevices: config.cdiDevices.map((name) => ({ name })),
    image: {
      name: config.image.userSpecified || config.image.ref,
      digest: context.images.get(record.imageId)?.manifestDigest ?? "",
      configDigest: record.imageId,
    },
  };
}

const PLUGIN_STATES: Readonly<Record<ContainerState, number>> = {
  created: v1.ContainerState.CONTAINER_CREATED,
  running: v1.ContainerState.CONTAINER_RUNNING,
  unknown: v1.ContainerState.CONTAINER_UNKNOWN,
  exited: v1.ContainerState.CONTAINER_STOPPED,
};

function adjustedRecord(record: ContainerRecord, adjustment: ContainerAdjustment, spec: OciSpec): ContainerRecord {
  const { linux } = adjustment;
  const resources = linux?.resources ? mergeResources(record.status.resources, criResourcesOf(linux.resources)) : record.status.resources;
  const oomScoreAdj = linux?.oomScoreAdj ? (spec.process.oomScoreAdj ?? 0) : resources.oomScoreAdj;
  return {
    ...record,
    ...(linux && linux.cgroupsPath !== "" && { cgroupsPath: linux.cgroupsPath }),
    status: { ...record.status, resources: { ...resources, oomScoreAdj } },
  };
}
