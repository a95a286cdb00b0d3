import { toContainerConfig } from "../convert/container-config.ts";
import { filled } from "../convert/fields.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** The pod's configuration in the request is left aside: the pod's own record says what it was made with. */
export function createContainer({ containers }: Pick<Services, "containers">): RuntimeHandlers["CreateContainer"] {
  return async ({ podSandboxId, config }, { signal }) => {
    const sandboxId = filled(podSandboxId, "pod_sandbox_id");
    return { containerId: await containers.create({ sandboxId, config: toContainerConfig(config) }, { signal }) };
  };
}
