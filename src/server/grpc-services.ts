import { runtime } from "../../api/cri/runtime/v1/api.js";
import { change, type HandlersOf, read, stream } from "./methods.ts";

const { v1 } = runtime;

/** The RPCs of runtime.v1.RuntimeService. */
export const runtimeMethods = {
  Version: read(v1.VersionRequest, v1.VersionResponse),
  RunPodSandbox: change(v1.RunPodSandboxRequest, v1.RunPodSandboxResponse),
  StopPodSandbox: change(v1.StopPodSandboxRequest, v1.StopPodSandboxResponse),
  RemovePodSandbox: change(v1.RemovePodSandboxRequest, v1.RemovePodSandboxResponse),
  PodSandboxStatus: read(v1.PodSandboxStatusRequest, v1.PodSandboxStatusResponse),
  ListPodSandbox: read(v1.ListPodSandboxRequest, v1.ListPodSandboxResponse),
  StreamPodSandboxes: stream(v1.StreamPodSandboxesRequest, v1.StreamPodSandboxesResponse),
  CreateContainer: change(v1.CreateContainerRequest, v1.CreateContainerResponse),
  StartContainer: change(v1.StartContainerRequest, v1.StartContainerResponse),
  StopContainer: change(v1.StopContainerRequest, v1.StopContainerResponse),
  RemoveContainer: change(v1.RemoveContainerRequest, v1.RemoveContainerResponse),
  ListContainers: read(v1.ListContainersRequest, v1.ListContainersResponse),
  StreamContainers: stream(v1.StreamContainersRequest, v1.StreamContainersResponse),
  ContainerStatus: read(v1.ContainerStatusRequest, v1.ContainerStatusResponse),
  UpdateContainerResources: change(v1.UpdateContainerResourcesRequest, v1.UpdateContainerResourcesResponse),
  ReopenContainerLog: change(v1.ReopenContainerLogRequest, v1.ReopenContainerLogResponse),
  // A probe calls it every few seconds in every pod.
  ExecSync: read(v1.ExecSyncRequest, v1.ExecSyncResponse),
  Exec: change(v1.ExecRequest, v1.ExecResponse),
  Attach: change(v1.AttachRequest, v1.AttachResponse),
  PortForward: change(v1.PortForwardRequest, v1.PortForwardResponse),
  ContainerStats: read(v1.ContainerStatsRequest, v1.ContainerStatsResponse),
  ListContainerStats: read(v1.ListContainerStatsRequest, v1.ListContainerStatsResponse),
  StreamContainerStats: stream(v1.StreamContainerStatsRequest, v1.StreamContainerStatsResponse),
  PodSandboxStats: read(v1.PodSandboxStatsRequest, v1.PodSandboxStatsResponse),
  ListPodSandboxStats: read(v1.ListPodSandboxStatsRequest, v1.ListPodSandboxStatsResponse),
  StreamPodSandboxStats: stream(v1.StreamPodSandboxStatsRequest, v1.StreamPodSandboxStatsResponse),
  UpdateRuntimeConfig: change(v1.UpdateRuntimeConfigRequest, v1.UpdateRuntimeConfigResponse),
  Status: read(v1.StatusRequest, v1.StatusResponse),
  CheckpointContainer: change(v1.CheckpointContainerRequest, v1.CheckpointContainerResponse),
  CheckpointPod: change(v1.CheckpointPodRequest, v1.CheckpointPodResponse),
  RestorePod: change(v1.RestorePodRequest, v1.RestorePodResponse),
  GetContainerEvents: stream(v1.GetEventsRequest, v1.ContainerEventResponse),
  ListMetricDescriptors: read(v1.ListMetricDescriptorsRequest, v1.ListMetricDescriptorsResponse),
  ListPodSandboxMetrics: read(v1.ListPodSandboxMetricsRequest, v1.ListPodSandboxMetricsResponse),
  StreamPodSandboxMetrics: stream(v1.StreamPodSandboxMetricsRequest, v1.StreamPodSandboxMetricsResponse),
  RuntimeConfig: read(v1.RuntimeConfigRequest, v1.RuntimeConfigResponse),
  UpdatePodSandboxResources: change(v1.UpdatePodSandboxResourcesRequest, v1.UpdatePodSandboxResourcesResponse),
};

/** The RPCs of runtime.v1.ImageService. */
export const imageMethods = {
  ListImages: read(v1.ListImagesRequest, v1.ListImagesResponse),
  StreamImages: stream(v1.StreamImagesRequest, v1.StreamImagesResponse),
  ImageStatus: read(v1.ImageStatusRequest, v1.ImageStatusResponse),
  PullImage: change(v1.PullImageRequest, v1.PullImageResponse),
  RemoveImage: change(v1.RemoveImageRequest, v1.RemoveImageResponse),
  ImageFsInfo: read(v1.ImageFsInfoRequest, v1.ImageFsInfoResponse),
};

export type RuntimeHandlers = HandlersOf<typeof runtimeMethods>;
export type ImageHandlers = HandlersOf<typeof imageMethods>;
