import type { ImageHandlers, RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";
import { attach } from "./attach.ts";
import { containerStats } from "./container-stats.ts";
import { containerStatus } from "./container-status.ts";
import { createContainer } from "./create-container.ts";
import { exec } from "./exec.ts";
import { execSync } from "./exec-sync.ts";
import { getContainerEvents } from "./get-container-events.ts";
import { imageFsInfo } from "./image-fs-info.ts";
import { imageStatus } from "./image-status.ts";
import { listContainerStats } from "./list-container-stats.ts";
import { listContainers } from "./list-containers.ts";
import { listImages } from "./list-images.ts";
import { listMetricDescriptors } from "./list-metric-descriptors.ts";
import { listPodSandbox } from "./list-pod-sandbox.ts";
import { listPodSandboxMetrics } from "./list-pod-sandbox-metrics.ts";
import { listPodSandboxStats } from "./list-pod-sandbox-stats.ts";
import { podSandboxStats } from "./pod-sandbox-stats.ts";
import { podSandboxStatus } from "./pod-sandbox-status.ts";
import { portForward } from "./port-forward.ts";
import { pullImage } from "./pull-image.ts";
import { removeContainer } from "./remove-container.ts";
import { removeImage } from "./remove-image.ts";
import { removePodSandbox } from "./remove-pod-sandbox.ts";
import { reopenContainerLog } from "./reopen-container-log.ts";
import { runPodSandbox } from "./run-pod-sandbox.ts";
import { runtimeConfig } from "./runtime-config.ts";
import { startContainer } from "./start-container.ts";
import { status } from "./status.ts";
import { stopContainer } from "./stop-container.ts";
import { stopPodSandbox } from "./stop-pod-sandbox.ts";
import { streamContainerStats } from "./stream-container-stats.ts";
import { streamContainers } from "./stream-containers.ts";
import { streamImages } from "./stream-images.ts";
import { streamPodSandboxMetrics } from "./stream-pod-sandbox-metrics.ts";
import { streamPodSandboxStats } from "./stream-pod-sandbox-stats.ts";
import { streamPodSandboxes } from "./stream-pod-sandboxes.ts";
import { unimplemented } from "./unimplemented.ts";
import { updateContainerResources } from "./update-container-resources.ts";
import { updatePodSandboxResources } from "./update-pod-sandbox-resources.ts";
import { updateRuntimeConfig } from "./update-runtime-config.ts";
import { version } from "./version.ts";

/** A handler for each RPC of the RuntimeService. */
export function runtimeHandlers(services: Services): RuntimeHandlers {
  return {
    Version: version(services),
    RunPodSandbox: runPodSandbox(services),
    StopPodSandbox: stopPodSandbox(services),
    RemovePodSandbox: removePodSandbox(services),
    PodSandboxStatus: podSandboxStatus(services),
    ListPodSandbox: listPodSandbox(services),
    StreamPodSandboxes: streamPodSandboxes(services),
    CreateContainer: createContainer(services),
    StartContainer: startContainer(services),
    StopContainer: stopContainer(services),
    RemoveContainer: removeContainer(services),
    ListContainers: listContainers(services),
    StreamContainers: streamContainers(services),
    ContainerStatus: containerStatus(services),
    UpdateContainerResources: updateContainerResources(services),
    ReopenContainerLog: reopenContainerLog(services),
    ExecSync: execSync(services),
    Exec: exec(services),
    Attach: attach(services),
    PortForward: portForward(services),
    ContainerStats: containerStats(services),
    ListContainerStats: listContainerStats(services),
    StreamContainerStats: streamContainerStats(services),
    PodSandboxStats: podSandboxStats(services),
    ListPodSandboxStats: listPodSandboxStats(services),
    StreamPodSandboxStats: streamPodSandboxStats(services),
    UpdateRuntimeConfig: updateRuntimeConfig(services),
    Status: status(services),
    CheckpointContainer: unimplemented("CheckpointContainer"),
    CheckpointPod: unimplemented("CheckpointPod"),
    RestorePod: unimplemented("RestorePod"),
    GetContainerEvents: getContainerEvents(services),
    ListMetricDescriptors: listMetricDescriptors(),
    ListPodSandboxMetrics: listPodSandboxMetrics(services),
    StreamPodSandboxMetrics: streamPodSandboxMetrics(services),
    RuntimeConfig: runtimeConfig(services),
    UpdatePodSandboxResources: updatePodSandboxResources(services),
  };
}

/** A handler for each RPC of the ImageService. */
export function imageHandlers(services: Services): ImageHandlers {
  return {
    ListImages: listImages(services),
    StreamImages: streamImages(services),
    ImageStatus: imageStatus(services),
    PullImage: pullImage(services),
    RemoveImage: removeImage(services),
    ImageFsInfo: imageFsInfo(services),
  };
}
