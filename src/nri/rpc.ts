import { v1 } from "./messages.ts";

/** The version of NRI that the messages are from. Plugins decide by it what they may ask for. */
export const NRI_VERSION = "v0.12.5";

export const RUNTIME_RPC = "nri.pkg.api.v1alpha1.Runtime";
export const PLUGIN_RPC = "nri.pkg.api.v1alpha1.Plugin";

/** One RPC of a plugin. */
export interface Method<Q, A> {
  readonly name: string;
  readonly request: { encode(message: Q): { finish(): Uint8Array } };
  readonly answer: { decode(bytes: Uint8Array): A };
}

function method<Q, A>(name: string, request: Method<Q, A>["request"], answer: Method<Q, A>["answer"]): Method<Q, A> {
  return { name, request, answer };
}

export const METHODS = {
  Configure: method("Configure", v1.ConfigureRequest, v1.ConfigureResponse),
  Synchronize: method("Synchronize", v1.SynchronizeRequest, v1.SynchronizeResponse),
  Shutdown: method("Shutdown", v1.Empty, v1.Empty),
  RunPodSandbox: method("RunPodSandbox", v1.RunPodSandboxRequest, v1.RunPodSandboxResponse),
  UpdatePodSandbox: method("UpdatePodSandbox", v1.UpdatePodSandboxRequest, v1.UpdatePodSandboxResponse),
  PostUpdatePodSandbox: method("PostUpdatePodSandbox", v1.PostUpdatePodSandboxRequest, v1.PostUpdatePodSandboxResponse),
  StopPodSandbox: method("StopPodSandbox", v1.StopPodSandboxRequest, v1.StopPodSandboxResponse),
  RemovePodSandbox: method("RemovePodSandbox", v1.RemovePodSandboxRequest, v1.RemovePodSandboxResponse),
  CreateContainer: method("CreateContainer", v1.CreateContainerRequest, v1.CreateContainerResponse),
  PostCreateContainer: method("PostCreateContainer", v1.PostCreateContainerRequest, v1.PostCreateContainerResponse),
  StartContainer: method("StartContainer", v1.StartContainerRequest, v1.StartContainerResponse),
  PostStartContainer: method("PostStartContainer", v1.PostStartContainerRequest, v1.PostStartContainerResponse),
  UpdateContainer: method("UpdateContainer", v1.UpdateContainerRequest, v1.UpdateContainerResponse),
  PostUpdateContainer: method("PostUpdateContainer", v1.PostUpdateContainerRequest, v1.PostUpdateContainerResponse),
  StopContainer: method("StopContainer", v1.StopContainerRequest, v1.StopContainerResponse),
  RemoveContainer: method("RemoveContainer", v1.RemoveContainerRequest, v1.RemoveContainerResponse),
  ValidateContainerAdjustment: method(
    "ValidateContainerAdjustment",
    v1.ValidateContainerAdjustmentRequest,
    v1.ValidateContainerAdjustmentResponse,
  ),
};
