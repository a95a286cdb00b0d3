import { nowNanos } from "../../base/time.ts";
import { fromContainerStatus } from "../convert/container.ts";
import { filled } from "../convert/fields.ts";
import { verboseInfo } from "../convert/info.ts";
import { fromSandboxStatus } from "../convert/sandbox.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/**
 * The pod with all of its containers, and when that was so: with evented PLEG the kubelet asks for nothing else of a pod, and orders the answer among the
 * events by that time. One that has no timestamp makes it ask for each container.
 */
export function podSandboxStatus({
  sandboxes,
  containers,
  runtimeSpec,
}: Pick<Services, "sandboxes" | "containers" | "runtimeSpec">): RuntimeHandlers["PodSandboxStatus"] {
  return async ({ podSandboxId, verbose }) => {
    const status = sandboxes.status(filled(podSandboxId, "pod_sandbox_id"));
    const now = {
      status: fromSandboxStatus(status),
      containersStatuses: containers.list({ sandboxId: status.id }).map(fromContainerStatus),
      timestamp: nowNanos(),
    };
    return {
      ...now,
      ...(verbose && { info: verboseInfo({ ...sandboxes.verbose(status.id), runtimeSpec: await runtimeSpec(status.id) }) }),
    };
  };
}
