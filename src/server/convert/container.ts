import { runtime } from "../../../api/cri/runtime/v1/api.js";
import type { ContainerConfig } from "../../records/container-config.ts";
import type { ContainerFilter, ContainerView } from "../services.ts";
import { fromMount } from "./container-config.ts";
import { EncodedList } from "./encoded-list.ts";
import { word } from "./fields.ts";
import { fromResources } from "./resources.ts";
import { fromSignalNumber } from "./signal.ts";

const { Container } = runtime.v1;
const states: readonly ContainerView["state"][] = ["created", "running", "exited", "unknown"];

function fromImage(image: ContainerConfig["image"]): runtime.v1.ImageSpec.$Properties {
  return {
    image: image.ref,
    userSpecifiedImage: image.userSpecified,
    annotations: image.annotations,
    runtimeHandler: image.runtimeHandler,
  };
}

export function fromContainer({ record, state }: ContainerView): runtime.v1.Container.$Properties {
  const { config } = record;
  return {
    id: record.id,
    podSandboxId: record.sandboxId,
    metadata: { name: config.name, attempt: config.attempt },
    image: fromImage(config.image),
    imageRef: record.imageRef,
    imageId: record.imageId,
    state: states.indexOf(state),
    createdAt: record.status.createdAt,
    labels: config.labels,
    annotations: config.annotations,
  };
}

export function fromContainerStatus({ record, state }: ContainerView): runtime.v1.ContainerStatus.$Properties {
  const { config, status, user } = record;
  const imageIds = new Map(record.imageMounts.map((mount) => [mount.containerPath, mount.imageId]));
  return {
    id: record.id,
    metadata: { name: config.name, attempt: config.attempt },
    state: states.indexOf(state),
    createdAt: status.createdAt,
    startedAt: status.startedAt,
    finishedAt: status.finishedAt,
    exitCode: status.exitCode,
    // The name that the pod's author wrote, where the kubelet tells it: what is compared with the spec.
    image: { ...fromImage(config.image), image: config.image.userSpecified === "" ? config.image.ref : config.image.userSpecified },
    imageRef: record.imageRef,
    imageId: record.imageId,
    reason: status.reason,
    message: status.message,
    labels: config.labels,
    annotations: config.annotations,
    mounts: config.mounts.map((mount) => fromMount(mount, imageIds.get(mount.containerPath) ?? "")),
    logPath: record.logPath,
    resources: { linux: fromResources(status.resources) },
    ...(user && {
      user: { linux: { uid: BigInt(user.uid), gid: BigInt(user.gid), supplementalGroups: user.supplementalGroups.map(BigInt) } },
    }),
    stopSignal: fromSignalNumber(record.stopSignal),
  };
}

export function toContainerFilter(message: runtime.v1.ContainerFilter | null | undefined): ContainerFilter {
  if (message === null || message === undefined) return {};
  return {
    ...toContainerStatsFilter(message),
    ...(message.state && { state: word(states, message.state.state, "filter.state.state") }),
  };
}

/** The filter of statistics is that of containers without the state. */
export function toContainerStatsFilter(message: runtime.v1.ContainerStatsFilter | null | undefined): ContainerFilter {
  if (message === null || message === undefined) return {};
  return {
    ...(message.id !== "" && { id: message.id }),
    ...(message.podSandboxId !== "" && { sandboxId: message.podSandboxId }),
    labels: message.labelSelector,
  };
}

/** What a verbose status says beyond the CRI's fields, for `crictl inspect`. */
export function verboseContainer({ record, state }: ContainerView): Record<string, unknown> {
  return {
    sandboxID: record.sandboxId,
    pid: record.status.process?.pid ?? 0,
    state,
    name: record.reservedName,
    runtimeHandler: record.runtimeHandler,
    shim: record.status.process?.shim ?? null,
    config: record.config,
    imageMounts: record.imageMounts,
  };
}

/** The containers of ListContainers; see `sandboxList` for why the configuration stands for the container. */
export function containerList(): EncodedList<ContainerView> {
  return new EncodedList({
    identity: ({ record, state }) => ({ key: record.config, version: state }),
    encode: (view) => Container.encode(fromContainer(view)).finish(),
  });
}
