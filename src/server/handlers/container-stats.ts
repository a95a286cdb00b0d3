import { filled } from "../convert/fields.ts";
import { fromContainerStats } from "../convert/stats.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

export function containerStats({ stats, node }: Pick<Services, "stats" | "node">): RuntimeHandlers["ContainerStats"] {
  return async ({ containerId }, { signal }) => {
    const measured = await stats.container(filled(containerId, "container_id"), { signal });
    return { stats: fromContainerStats(measured, node.writableLayers) };
  };
}
