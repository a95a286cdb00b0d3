import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { runtime } from "../../../api/cri/runtime/v1/api.js";

const { v1 } = runtime;

interface Encodes<T> {
  encode(message: T): { finish(): Buffer };
}
interface Decodes<T> {
  decode(bytes: Uint8Array): T;
}

/** Speaks the CRI without crictl in between: for fields that crictl does not send and callers that go away. */
export class CriClient implements Disposable {
  readonly #client: Client;

  constructor(socket: string) {
    this.#client = new Client(`unix://${socket}`, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  runPodSandbox = this.#unary("RuntimeService/RunPodSandbox", v1.RunPodSandboxRequest, v1.RunPodSandboxResponse);
  stopPodSandbox = this.#unary("RuntimeService/StopPodSandbox", v1.StopPodSandboxRequest, v1.StopPodSandboxResponse);
  removePodSandbox = this.#unary("RuntimeService/RemovePodSandbox", v1.RemovePodSandboxRequest, v1.RemovePodSandboxResponse);
  listPodSandbox = this.#unary("RuntimeService/ListPodSandbox", v1.ListPodSandboxRequest, v1.ListPodSandboxResponse);
  createContainer = this.#unary("RuntimeService/CreateContainer", v1.CreateContainerRequest, v1.CreateContainerResponse);
  startContainer = this.#unary("RuntimeService/StartContainer", v1.StartContainerRequest, v1.StartContainerResponse);
  stopContainer = this.#unary("RuntimeService/StopContainer", v1.StopContainerRequest, v1.StopContainerResponse);
  removeContainer = this.#unary("RuntimeService/RemoveContainer", v1.RemoveContainerRequest, v1.RemoveContainerResponse);
  containerStatus = this.#unary("RuntimeService/ContainerStatus", v1.ContainerStatusRequest, v1.ContainerStatusResponse);
  updateContainerResources = this.#unary(
    "RuntimeService/UpdateContainerResources",
    v1.UpdateContainerResourcesRequest,
    v1.UpdateContainerResourcesResponse,
  );
  updatePodSandboxResources = this.#unary(
    "RuntimeService/UpdatePodSandboxResources",
    v1.UpdatePodSandboxResourcesRequest,
    v1.UpdatePodSandboxResourcesResponse,
  );
  podSandboxStatus = this.#unary("RuntimeService/PodSandboxStatus", v1.PodSandboxStatusRequest, v1.PodSandboxStatusResponse);
  containerStats = this.#unary("RuntimeService/ContainerStats", v1.ContainerStatsRequest, v1.ContainerStatsResponse);
  listContainerStats = this.#unary("RuntimeService/ListContainerStats", v1.ListContainerStatsRequest, v1.ListContainerStatsResponse);
  podSandboxStats = this.#unary("RuntimeService/PodSandboxStats", v1.PodSandboxStatsRequest, v1.PodSandboxStatsResponse);
  listPodSandboxStats = this.#unary("RuntimeService/ListPodSandboxStats", v1.ListPodSandboxStatsRequest, v1.ListPodSandboxStatsResponse);
  listMetricDescriptors = this.#unary(
    "RuntimeService/ListMetricDescriptors",
    v1.ListMetricDescriptorsRequest,
    v1.ListMetricDescriptorsResponse,
  );
  listPodSandboxMetrics = this.#unary(
    "RuntimeService/ListPodSandboxMetrics",
    v1.ListPodSandboxMetricsRequest,
    v1.ListPodSandboxMetricsResponse,
  );
  status = this.#unary("RuntimeService/Status", v1.StatusRequest, v1.StatusResponse);
  runtimeConfig = this.#unary("RuntimeService/RuntimeConfig", v1.RuntimeConfigRequest, v1.RuntimeConfigResponse);
  updateRuntimeConfig = this.#unary("RuntimeService/UpdateRuntimeConfig", v1.UpdateRuntimeConfigRequest, v1.UpdateRuntimeConfigResponse);
  reopenContainerLog = this.#unary("RuntimeService/ReopenContainerLog", v1.ReopenContainerLogRequest, v1.ReopenContainerLogResponse);
  execSync = this.#unary("RuntimeService/ExecSync", v1.ExecSyncRequest, v1.ExecSyncResponse);
  pullImage = this.#unary("ImageService/PullImage", v1.PullImageRequest, v1.PullImageResponse);
  removeImage = this.#unary("ImageService/RemoveImage", v1.RemoveImageRequest, v1.RemoveImageResponse);

  #unary<Request, Response>(method: string, request: Encodes<Request>, response: Decodes<Response>) {
    /** `cancelAfterMs`: the caller goes away then. */
    return (message: Request, options: { cancelAfterMs?: number } = {}): Promise<Response> =>
      new Promise((resolve, reject) => {
        const call = this.#client.makeUnaryRequest(
          `/runtime.v1.${method}`,
          (value: Request) => Buffer.from(request.encode(value).finish()),
          (bytes: Buffer) => response.decode(bytes),
          message,
          { deadline: Date.now() + 60_000 },
          (error: ServiceError | null, value?: Response) => {
            if (error !== null) reject(new Error(`${method}: ${error.message}`, { cause: error }));
            else if (value === undefined) reject(new Error(`${method}: no answer`));
            else resolve(value);
          },
        );
        if (options.cancelAfterMs !== undefined) setTimeout(() => call.cancel(), options.cancelAfterMs);
      });
  }
}
