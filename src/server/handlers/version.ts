import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** The kubelet refuses a runtime whose API version is not "v1". */
export function version({ node }: Pick<Services, "node">): RuntimeHandlers["Version"] {
  return () => ({ version: "0.1.0", runtimeName: "crid", runtimeVersion: node.version, runtimeApiVersion: "v1" });
}
