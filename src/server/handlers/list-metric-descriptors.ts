import { metricDescriptors } from "../convert/pod-metrics.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";

/** The names, meanings and labels of what ListPodSandboxMetrics sends. */
export function listMetricDescriptors(): RuntimeHandlers["ListMetricDescriptors"] {
  return () => ({ descriptors: metricDescriptors });
}
