import { classFromAnnotations } from "../classes/class-name.ts";
import type { OciSpec } from "../oci/spec.ts";
import type { ContainerConfig } from "../records/container-config.ts";
import type { PodConfig } from "../records/pod-config.ts";
import type { ResourceClasses } from "./deps.ts";

/**
 * Puts a container into the block I/O and RDT classes that its annotations, or its pod's, name.
 *
 * @throws failed-precondition, invalid-argument: a class that does not exist, or that this node cannot have
 */
export async function addResourceClasses(classes: ResourceClasses, config: ContainerConfig, pod: PodConfig, spec: OciSpec): Promise<void> {
  const request = { container: config.name, containerAnnotations: config.annotations, podAnnotations: pod.annotations };
  const [blockIo, rdt] = [classFromAnnotations("blockio", request), classFromAnnotations("rdt", request)];
  if (blockIo !== "") {
    const limits = await classes.blockIo.resolve(blockIo);
    if (limits !== undefined) spec.linux.resources.blockIO = limits;
  }
  if (rdt !== "") {
    const group = await classes.rdt.resolve(rdt);
    if (group !== undefined) spec.linux.intelRdt = group;
  }
}
