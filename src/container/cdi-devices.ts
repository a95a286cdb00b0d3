import { requestedCdiDevices } from "../cdi/names.ts";
import { injectCdiEdits } from "../oci/cdi-edits.ts";
import type { OciSpec } from "../oci/spec.ts";
import type { ContainerConfig } from "../records/container-config.ts";
import type { CdiDevices } from "./deps.ts";

/**
 * Puts the CDI devices that a container asks for into its spec. Without any, no file is looked at.
 *
 * @throws invalid-argument for an annotation that names no device, failed-precondition for devices that this node has not: to start without
 * them would be worse than not to start
 */
export async function addCdiDevices(cdi: CdiDevices, config: ContainerConfig, spec: OciSpec): Promise<void> {
  const names = requestedCdiDevices(config.cdiDevices, config.annotations);
  if (names.length > 0) injectCdiEdits(spec, await cdi.resolve(names));
}
