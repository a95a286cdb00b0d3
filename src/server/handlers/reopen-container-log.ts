import { filled } from "../convert/fields.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** The kubelet calls it when it has moved the log away. */
export function reopenContainerLog({ containers }: Pick<Services, "containers">): RuntimeHandlers["ReopenContainerLog"] {
  return async ({ containerId }, { signal }) => {
    await containers.reopenLog(filled(containerId, "container_id"), { signal });
    return {};
  };
}
