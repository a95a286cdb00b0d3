import { classFromAnnotations } from "../classes/class-name.ts";
import type { LinuxResources } from "../nri/messages.ts";
import type { AdjustmentInputs } from "../oci/adjust-spec.ts";
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

/**
 * What the classes stand for that NRI plugins name in a container's limits; "" takes it out of its class.
 *
 * @throws failed-precondition, invalid-argument: a class that does not exist, or that this node cannot have
 */
export async function namedClasses(
  classes: ResourceClasses,
  limits: LinuxResources | null | undefined,
): Promise<Pick<AdjustmentInputs, "blockIo" | "rdt">> {
  const { blockioClass, rdtClass } = limits ?? {};
  return {
    ...(blockioClass && {
      blockIo: { settings: blockioClass.value === "" ? undefined : await classes.blockIo.resolve(blockioClass.value) },
    }),
    ...(rdtClass && { rdt: { settings: rdtClass.value === "" ? undefined : await classes.rdt.resolve(rdtClass.value) } }),
  };
}
