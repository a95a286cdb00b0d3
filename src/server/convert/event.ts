import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { nowNanos } from "../../base/time.ts";
import type { LifecycleEvent, LifecycleEventType } from "../../container/events.ts";
import type { Services } from "../services.ts";
import { fromContainerStatus } from "./container.ts";
import { fromSandboxStatus } from "./sandbox.ts";

const { ContainerEventType } = runtime.v1;

const types: Record<LifecycleEventType, runtime.v1.ContainerEventType> = {
  created: ContainerEventType.CONTAINER_CREATED_EVENT,
  started: ContainerEventType.CONTAINER_STARTED_EVENT,
  stopped: ContainerEventType.CONTAINER_STOPPED_EVENT,
  deleted: ContainerEventType.CONTAINER_DELETED_EVENT,
};

/**
 * An event with the statuses of its pod and of the pod's containers as they are now; a pod that is gone has none.
 *
 * Its time is that of these statuses, not when it happened: the kubelet's cache takes nothing that is older than what it has, and an exit is told once all
 * output is written, which may be after a PodSandboxStatus that still said "running".
 */
export function fromEvent(
  event: LifecycleEvent,
  { containers, sandboxes }: Pick<Services, "containers" | "sandboxes">,
): runtime.v1.ContainerEventResponse.$Properties {
  const pod = sandboxes.find(event.sandboxId);
  return {
    containerId: event.containerId,
    containerEventType: types[event.type],
    createdAt: nowNanos(),
    ...(pod && { podSandboxStatus: fromSandboxStatus(sandboxes.status(pod.id)) }),
    containersStatuses: containers.list({ sandboxId: event.sandboxId }).map(fromContainerStatus),
  };
}
