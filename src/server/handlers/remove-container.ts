import { filled } from "../convert/fields.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** Kills it if it runs. Succeeds for a container that does not exist. */
export function removeContainer({ containers }: Pick<Services, "containers">): RuntimeHandlers["RemoveContainer"] {
  return async ({ containerId }, { signal }) => {
    await containers.remove(filled(containerId, "container_id"), { signal });
    return {};
  };
}
