import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { pagesOf } from "../convert/encoded-list.ts";
import { fromPodSample } from "../convert/pod-metrics.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";
import { maxPageBytes } from "./pages.ts";

const { PodSandboxMetrics } = runtime.v1;

export function streamPodSandboxMetrics({ stats }: Pick<Services, "stats">): RuntimeHandlers["StreamPodSandboxMetrics"] {
  return async function* (_, { signal }) {
    yield* pagesOf(await stats.samples({ signal }), (one) => PodSandboxMetrics.encode(fromPodSample(one)).finish(), maxPageBytes);
  };
}
