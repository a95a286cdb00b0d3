import { filled } from "../convert/fields.ts";
import { toResources } from "../convert/resources.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** Part of an in-place resize. The kubelet sizes the pod's cgroup itself; the numbers are kept for status and NRI. */
export function updatePodSandboxResources({ sandboxes }: Pick<Services, "sandboxes">): RuntimeHandlers["UpdatePodSandboxResources"] {
  return async ({ podSandboxId, overhead, resources }, { signal }) => {
    const change = {
      ...(overhead && { overhead: toResources(overhead, "overhead") }),
      ...(resources && { resources: toResources(resources, "resources") }),
    };
    await sandboxes.updateResources(filled(podSandboxId, "pod_sandbox_id"), change, { signal });
    return {};
  };
}
