import { CridError } from "../base/errors.ts";
import { shortId } from "../base/ids.ts";
import type { LinuxResources as PluginResources } from "../nri/messages.ts";
import { criResourcesForPlugins, criResourcesOf, ociResourcesOf, overlayResources } from "../oci/plugin-resources.ts";
import { cgroupResources, mergeResources } from "../oci/resources.ts";
import type { OciIntelRdt, OciResources } from "../oci/spec.ts";
import type { LinuxResources } from "../records/pod-config.ts";
import { changeSpec } from "./bundle-spec.ts";
import type { ContainerContext } from "./context.ts";
import type { ContainerEntry } from "./entry.ts";
import { requestFor, tellPlugins } from "./plugins.ts";
import { namedClasses } from "./resource-classes.ts";

/** New limits, in the forms that the spec and the status have them. */
interface Change {
  oci: OciResources;
  cri: LinuxResources;
  /** Only of a container that has not started: a running one is in its group already. */
  rdt?: { settings: OciIntelRdt | undefined };
}

/**
 * Changes a container's limits: those of a running one at once, those of a created one when it starts. What the request leaves unset stays.
 * For one that has exited there is nothing to do, and that is no error (a resize races with an exit).
 *
 * @throws failed-precondition when it is being removed, or an NRI plugin refuses
 */
export async function updateResources(
  context: ContainerContext,
  entry: ContainerEntry,
  request: { resources: LinuxResources; annotations: Record<string, string> },
  options: { signal: AbortSignal },
): Promise<void> {
  const step = `update resources of container ${entry.record.config.name} (${shortId(entry.id)})`;
  try {
    using _lock = await context.locks.acquire(entry.id, options);
    if (entry.record.status.removing) throw new CridError("failed-precondition", "it is being removed");
    if (entry.state === "exited") return;
    const change = await changeOf(context, entry, request.resources, options);
    await apply(context, entry, change, request.annotations, options);
  } catch (error) {
    throw CridError.from(error, step);
  }
  await tellPlugins(context, entry, "PostUpdateContainer");
}

/** What an NRI plugin sets by itself, or in answer to a request for another container. @throws what the shim says */
export async function updateByPlugin(
  context: ContainerContext,
  entry: ContainerEntry,
  resources: PluginResources,
  options: { signal: AbortSignal },
): Promise<void> {
  try {
    await apply(context, entry, await pluginChange(context, resources), {}, options);
  } catch (error) {
    throw CridError.from(error, `update resources of container ${entry.record.config.name} (${shortId(entry.id)})`);
  }
}

/** What the request comes to, once the plugins have had their say. */
async function changeOf(
  context: ContainerContext,
  entry: ContainerEntry,
  requested: LinuxResources,
  options: { signal: AbortSignal },
): Promise<Change> {
  const { plugins } = context;
  if (plugins?.active !== true) return { oci: cgroupResources(requested, context.host), cri: requested };
  using _hold = await plugins.enter(options);
  const request = await requestFor(context, entry);
  return pluginChange(context, await plugins.updateContainer({ ...request, resources: criResourcesForPlugins(requested) }, options));
}

async function pluginChange(context: ContainerContext, resources: PluginResources): Promise<Change> {
  const { blockIo, rdt } = await namedClasses(context.classes, resources);
  return {
    oci: { ...ociResourcesOf(resources, context.host), ...(blockIo?.settings !== undefined && { blockIO: blockIo.settings }) },
    cri: criResourcesOf(resources),
    ...(rdt !== undefined && { rdt }),
  };
}

async function apply(
  context: ContainerContext,
  entry: ContainerEntry,
  { oci, cri, rdt }: Change,
  annotations: Record<string, string>,
  options: { signal: AbortSignal },
): Promise<void> {
  using _limits = await context.limitLocks.acquire(entry.id, options);
  if (entry.state === "exited") return;
  if (entry.record.status.process !== undefined) {
    const shim = await context.pods.get(entry.record.sandboxId).shim(options);
    await shim.update(entry.id, oci, annotations, options);
  }
  // In the spec too: a created container starts with it.
  await changeSpec(context, entry.id, (spec) => {
    spec.linux.resources = overlayResources(spec.linux.resources, oci);
    if (rdt === undefined) return;
    if (rdt.settings === undefined) delete spec.linux.intelRdt;
    else spec.linux.intelRdt = rdt.settings;
  });
  entry.update((status) => ({ ...status, resources: mergeResources(status.resources, cri) }));
}
