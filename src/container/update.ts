import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CridError } from "../base/errors.ts";
import { shortId } from "../base/ids.ts";
import { cgroupResources, mergeResources } from "../oci/resources.ts";
import type { OciSpec } from "../oci/spec.ts";
import type { LinuxResources } from "../records/pod-config.ts";
import { bundlePath, type ContainerContext } from "./context.ts";
import type { ContainerEntry } from "./entry.ts";

/**
 * Changes a container's limits: those of a running one at once, those of a created one when it starts. What the request leaves unset stays.
 * For one that has exited there is nothing to do, and that is no error (a resize races with an exit).
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
    const changed = cgroupResources(request.resources, context.host);
    if (entry.state !== "created") {
      const shim = await context.pods.get(entry.record.sandboxId).shim(options);
      await shim.update(entry.id, changed, request.annotations, options);
    }
    // In the spec too: a created container starts with it.
    await changeSpec(context, entry.id, (spec) => {
      const { resources } = spec.linux;
      spec.linux.resources = {
        ...resources,
        ...changed,
        ...(changed.cpu !== undefined && { cpu: { ...resources.cpu, ...changed.cpu } }),
        ...(changed.memory !== undefined && { memory: { ...resources.memory, ...changed.memory } }),
        ...(changed.unified !== undefined && { unified: { ...resources.unified, ...changed.unified } }),
      };
    });
    entry.update((status) => ({ ...status, resources: mergeResources(status.resources, request.resources) }));
  } catch (error) {
    throw CridError.from(error, step);
  }
}

async function changeSpec(context: ContainerContext, id: string, change: (spec: OciSpec) => void): Promise<void> {
  const path = join(bundlePath(context, id), "config.json");
  const spec = JSON.parse(await readFile(path, "utf8")) as OciSpec;
  change(spec);
  await writeFile(`${path}.new`, JSON.stringify(spec), { mode: 0o600 });
  await rename(`${path}.new`, path);
}
