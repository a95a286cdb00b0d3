import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { runtime } from "../api/cri/runtime/v1/api.js";

const { v1 } = runtime;

interface Encodes<T> {
  encode(message: T): { finish(): Buffer };
}
interface Decodes<T> {
  decode(bytes: Uint8Array): T;
}

/** A CRI client with just the calls that the benchmark times. Both runtimes are driven through it. */
export class CriClient implements Disposable {
  readonly #client: Client;

  constructor(socket: string) {
    this.#client = new Client(`unix://${socket}`, credentials.createInsecure(), {
      "grpc.max_receive_message_length": 64 << 20,
      // Each client its own connection: grpc-js shares those of equal targets.
      "grpc.use_local_subchannel_pool": 1,
      // A call made before the daemon listens is repeated after 50 ms, for the cold start.
      "grpc.initial_reconnect_backoff_ms": 50,
      "grpc.max_reconnect_backoff_ms": 100,
    });
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  version = this.#unary("RuntimeService/Version", v1.VersionRequest, v1.VersionResponse);
  status = this.#unary("RuntimeService/Status", v1.StatusRequest, v1.StatusResponse);
  runPodSandbox = this.#unary("RuntimeService/RunPodSandbox", v1.RunPodSandboxRequest, v1.RunPodSandboxResponse);
  stopPodSandbox = this.#unary("RuntimeService/StopPodSandbox", v1.StopPodSandboxRequest, v1.StopPodSandboxResponse);
  removePodSandbox = this.#unary("RuntimeService/RemovePodSandbox", v1.RemovePodSandboxRequest, v1.RemovePodSandboxResponse);
  listPodSandbox = this.#unary("RuntimeService/ListPodSandbox", v1.ListPodSandboxRequest, v1.ListPodSandboxResponse);
  createContainer = this.#unary("RuntimeService/CreateContainer", v1.CreateContainerRequest, v1.CreateContainerResponse);
  startContainer = this.#unary("RuntimeService/StartContainer", v1.StartContainerRequest, v1.StartContainerResponse);
  containerStatus = this.#unary("RuntimeService/ContainerStatus", v1.ContainerStatusRequest, v1.ContainerStatusResponse);
  removeContainer = this.#unary("RuntimeService/RemoveContainer", v1.RemoveContainerRequest, v1.RemoveContainerResponse);
  listContainers = this.#unary("RuntimeService/ListContainers", v1.ListContainersRequest, v1.ListContainersResponse);
  execSync = this.#unary("RuntimeService/ExecSync", v1.ExecSyncRequest, v1.ExecSyncResponse);
  exec = this.#unary("RuntimeService/Exec", v1.ExecRequest, v1.ExecResponse);
  portForward = this.#unary("RuntimeService/PortForward", v1.PortForwardRequest, v1.PortForwardResponse);
  pullImage = this.#unary("ImageService/PullImage", v1.PullImageRequest, v1.PullImageResponse);
  removeImage = this.#unary("ImageService/RemoveImage", v1.RemoveImageRequest, v1.RemoveImageResponse);
  imageFsInfo = this.#unary("ImageService/ImageFsInfo", v1.ImageFsInfoRequest, v1.ImageFsInfoResponse);

  #unary<Request, Response>(method: string, request: Encodes<Request>, response: Decodes<Response>) {
    return (message: Request, deadlineMs = 120_000): Promise<Response> =>
      new Promise((resolve, reject) => {
        this.#client.makeUnaryRequest(
          `/runtime.v1.${method}`,
          (value: Request) => request.encode(value).finish(),
          (bytes: Buffer) => response.decode(bytes),
          message,
          { deadline: Date.now() + deadlineMs },
          (error: ServiceError | null, value?: Response) => {
            if (error !== null) reject(new Error(`${method}: ${error.message}`, { cause: error }));
            else if (value === undefined) reject(new Error(`${method}: no answer`));
            else resolve(value);
          },
        );
      });
  }
}
