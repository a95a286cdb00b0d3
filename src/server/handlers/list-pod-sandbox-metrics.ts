import { fromPodSample } from "../convert/pod-metrics.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** Of the pods that are ready: what the kubelet serves at /metrics/cadvisor (KEP-2371). */
export function listPodSandboxMetrics({ stats }: Pick<Services, "stats">): RuntimeHandlers["ListPodSandboxMetrics"] {
  return async (_, { signal }) => ({ podMetrics: (await stats.samples({ signal })).map(fromPodSample) });
}
