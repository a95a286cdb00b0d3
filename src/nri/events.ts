import { v1 } from "./messages.ts";

/** What plugins are told of, by the RPC's name. */
export type PodEvent = "RunPodSandbox" | "UpdatePodSandbox" | "PostUpdatePodSandbox" | "StopPodSandbox" | "RemovePodSandbox";
export type ContainerEvent =
  | "CreateContainer"
  | "PostCreateContainer"
  | "StartContainer"
  | "PostStartContainer"
  | "UpdateContainer"
  | "PostUpdateContainer"
  | "StopContainer"
  | "RemoveContainer";
export type EventName = PodEvent | ContainerEvent | "ValidateContainerAdjustment";

const { Event } = v1;

/** The numbers of the events. Their bits in a subscription are one lower. */
export const EVENT_NUMBERS: Readonly<Record<EventName, number>> = {
  RunPodSandbox: Event.RUN_POD_SANDBOX,
  UpdatePodSandbox: Event.UPDATE_POD_SANDBOX,
  PostUpdatePodSandbox: Event.POST_UPDATE_POD_SANDBOX,
  StopPodSandbox: Event.STOP_POD_SANDBOX,
  RemovePodSandbox: Event.REMOVE_POD_SANDBOX,
  CreateContainer: Event.CREATE_CONTAINER,
  PostCreateContainer: Event.POST_CREATE_CONTAINER,
  StartContainer: Event.START_CONTAINER,
  PostStartContainer: Event.POST_START_CONTAINER,
  UpdateContainer: Event.UPDATE_CONTAINER,
  PostUpdateContainer: Event.POST_UPDATE_CONTAINER,
  StopContainer: Event.STOP_CONTAINER,
  RemoveContainer: Event.REMOVE_CONTAINER,
  ValidateContainerAdjustment: Event.VALIDATE_CONTAINER_ADJUSTMENT,
};

/** The subscription to every event there is. */
export const ALL_EVENTS = (1 << (Event.LAST - 1)) - 1;

export function subscribes(mask: number, event: EventName): boolean {
  return (mask & (1 << (EVENT_NUMBERS[event] - 1))) !== 0;
}

/** An event whose answer says nothing. Plugins built before NRI 0.11 take these as StateChange. */
export function isNotification(event: EventName): boolean {
  switch (event) {
    case "CreateContainer":
    case "UpdateContainer":
    case "UpdatePodSandbox":
    case "StopContainer":
    case "ValidateContainerAdjustment":
      return false;
    default:
      return true;
  }
}
