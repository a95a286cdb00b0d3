import { toContainerStatsFilter } from "../convert/container.ts";
import { fromContainerStats } from "../convert/stats.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";
import { pagesOf } from "./pages.ts";

export function streamContainerStats({ stats, node }: Pick<Services, "stats" | "node">): RuntimeHandlers["StreamContainerStats"] {
  return async function* ({ filter }, { signal }) {
    const measured = await stats.containers(toContainerStatsFilter(filter), { signal });
    for (const page of pagesOf(measured)) yield { containerStats: page.map((one) => fromContainerStats(one, node.writableLayers)) };
  };
}
