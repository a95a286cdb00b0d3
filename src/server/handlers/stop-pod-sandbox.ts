import { filled } from "../convert/fields.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** Succeeds for a pod that does not exist. */
export function stopPodSandbox({ sandboxes }: Pick<Services, "sandboxes">): RuntimeHandlers["StopPodSandbox"] {
  return async ({ podSandboxId }, { signal }) => {
    await sandboxes.stop(filled(podSandboxId, "pod_sandbox_id"), { signal });
    return {};
  };
}
