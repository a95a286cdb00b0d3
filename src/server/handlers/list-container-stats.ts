import { toContainerStatsFilter } from "../convert/container.ts";
import { fromContainerStats } from "../convert/stats.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** Of the containers that run: what the kubelet takes a node's stats from. */
export function listContainerStats({ stats, node }: Pick<Services, "stats" | "node">): RuntimeHandlers["ListContainerStats"] {
  return async ({ filter }, { signal }) => {
    const measured = await stats.containers(toContainerStatsFilter(filter), { signal });
    return { stats: measured.map((one) => fromContainerStats(one, node.writableLayers)) };
  };
}
