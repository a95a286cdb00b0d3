import { fromPodSample } from "../convert/pod-metrics.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";
import { pagesOf } from "./pages.ts";

export function streamPodSandboxMetrics({ stats }: Pick<Services, "stats">): RuntimeHandlers["StreamPodSandboxMetrics"] {
  return async function* (_, { signal }) {
    for (const page of pagesOf(await stats.samples({ signal }))) yield { podSandboxMetrics: page.map(fromPodSample) };
  };
}
