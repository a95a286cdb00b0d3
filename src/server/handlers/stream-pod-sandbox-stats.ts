import { toSandboxStatsFilter } from "../convert/sandbox.ts";
import { fromPodStats } from "../convert/stats.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";
import { pagesOf } from "./pages.ts";

export function streamPodSandboxStats({ stats, node }: Pick<Services, "stats" | "node">): RuntimeHandlers["StreamPodSandboxStats"] {
  return async function* ({ filter }, { signal }) {
    const measured = await stats.pods(toSandboxStatsFilter(filter), { signal });
    for (const page of pagesOf(measured)) yield { podSandboxStats: page.map((one) => fromPodStats(one, node.writableLayers)) };
  };
}
