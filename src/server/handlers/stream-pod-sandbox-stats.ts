import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { pagesOf } from "../convert/encoded-list.ts";
import { toSandboxStatsFilter } from "../convert/sandbox.ts";
import { fromPodStats } from "../convert/stats.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";
import { maxPageBytes } from "./pages.ts";

const { PodSandboxStats } = runtime.v1;

export function streamPodSandboxStats({ stats, node }: Pick<Services, "stats" | "node">): RuntimeHandlers["StreamPodSandboxStats"] {
  return async function* ({ filter }, { signal }) {
    const measured = await stats.pods(toSandboxStatsFilter(filter), { signal });
    yield* pagesOf(measured, (one) => PodSandboxStats.encode(fromPodStats(one, node.writableLayers)).finish(), maxPageBytes);
  };
}
