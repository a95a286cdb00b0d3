import { filled } from "../convert/fields.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

export function startContainer({ containers }: Pick<Services, "containers">): RuntimeHandlers["StartContainer"] {
  return async ({ containerId }, { signal }) => {
    await containers.start(filled(containerId, "container_id"), { signal });
    return {};
  };
}
