import { filled, required } from "../convert/fields.ts";
import { toResources } from "../convert/resources.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

export function updateContainerResources({ containers }: Pick<Services, "containers">): RuntimeHandlers["UpdateContainerResources"] {
  return async ({ containerId, linux, annotations }, { signal }) => {
    const resources = toResources(required(linux, "linux"), "linux");
    await containers.updateResources(filled(containerId, "container_id"), { resources, annotations, signal });
    return {};
  };
}
