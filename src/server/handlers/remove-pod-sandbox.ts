import { filled } from "../convert/fields.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** Stops what still runs. Succeeds for a pod that does not exist. */
export function removePodSandbox({ sandboxes }: Pick<Services, "sandboxes">): RuntimeHandlers["RemovePodSandbox"] {
  return async ({ podSandboxId }, { signal }) => {
    await sandboxes.remove(filled(podSandboxId, "pod_sandbox_id"), { signal });
    return {};
  };
}
