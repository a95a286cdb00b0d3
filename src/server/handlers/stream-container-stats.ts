import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { toContainerStatsFilter } from "../convert/container.ts";
import { pagesOf } from "../convert/encoded-list.ts";
import { fromContainerStats } from "../convert/stats.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";
import { maxPageBytes } from "./pages.ts";

const { ContainerStats } = runtime.v1;

export function streamContainerStats({ stats, node }: Pick<Services, "stats" | "node">): RuntimeHandlers["StreamContainerStats"] {
  return async function* ({ filter }, { signal }) {
    const measured = await stats.containers(toContainerStatsFilter(filter), { signal });
    yield* pagesOf(measured, (one) => ContainerStats.encode(fromContainerStats(one, node.writableLayers)).finish(), maxPageBytes);
  };
}
