import { runtime } from "../../api/cri/runtime/v1/api.js";
import type { Answer, StreamHandler, UnaryHandler } from "./call.ts";

/**
 * How much a call says in the log: "change" alters something and is told at level info, "read" is asked all the time and is told
 * at level debug. Failures are told at their own level.
 */
export type Weight = "change" | "read";

interface Codec<Request, Response> {
  readonly weight: Weight;
  decode(bytes: Buffer): Request;
  encode(answer: Answer<Response>): Buffer;
}

export interface UnaryMethod<Request, Response> extends Codec<Request, Response> {
  readonly kind: "unary";
}

export interface StreamMethod<Request, Response> extends Codec<Request, Response> {
  readonly kind: "stream";
}

interface Decodes<Message> {
  decode(bytes: Uint8Array): Message;
}

interface Encodes<Message> {
  encode(message: Message): { finish(): Buffer };
}

function codec<Request, Response>(weight: Weight, request: Decodes<Request>, response: Encodes<Response>): Codec<Request, Response> {
  return {
    weight,
    decode: (bytes) => request.decode(bytes),
    encode: (answer) => (Buffer.isBuffer(answer) ? answer : response.encode(answer).finish()),
  };
}

function read<Request, Response>(request: Decodes<Request>, response: Encodes<Response>): UnaryMethod<Request, Response> {
  return { kind: "unary", ...codec("read", request, response) };
}

function change<Request, Response>(request: Decodes<Request>, response: Encodes<Response>): UnaryMethod<Request, Response> {
  return { kind: "unary", ...codec("change", request, response) };
}

function stream<Request, Response>(request: Decodes<Request>, response: Encodes<Response>): StreamMethod<Request, Response> {
  return { kind: "stream", ...codec("read", request, response) };
}

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

/** A handler for each method of a table. */
export type HandlersOf<Methods> = {
  readonly [Name in keyof Methods]: Methods[Name] extends UnaryMethod<infer Request, infer Response>
    ? UnaryHandler<Request, Response>
    : Methods[Name] extends StreamMethod<infer Request, infer Response>
      ? StreamHandler<Request, Response>
      : never;
};

export type RuntimeHandlers = HandlersOf<typeof runtimeMethods>;
export type ImageHandlers = HandlersOf<typeof imageMethods>;
