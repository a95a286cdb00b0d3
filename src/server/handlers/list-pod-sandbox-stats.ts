import { toSandboxStatsFilter } from "../convert/sandbox.ts";
import { fromPodStats } from "../convert/stats.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** Of the pods that are ready. */
export function listPodSandboxStats({ stats, node }: Pick<Services, "stats" | "node">): RuntimeHandlers["ListPodSandboxStats"] {
  return async ({ filter }, { signal }) => {
    const measured = await stats.pods(toSandboxStatsFilter(filter), { signal });
    return { stats: measured.map((one) => fromPodStats(one, node.writableLayers)) };
  };
}
