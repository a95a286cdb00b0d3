import { filled } from "../convert/fields.ts";
import { fromPodStats } from "../convert/stats.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** The kubelet calls it without an id when it starts: any answer but UNIMPLEMENTED tells it that pods have stats here. */
export function podSandboxStats({ stats, node }: Pick<Services, "stats" | "node">): RuntimeHandlers["PodSandboxStats"] {
  return async ({ podSandboxId }, { signal }) => {
    const measured = await stats.pod(filled(podSandboxId, "pod_sandbox_id"), { signal });
    return { stats: fromPodStats(measured, node.writableLayers) };
  };
}
