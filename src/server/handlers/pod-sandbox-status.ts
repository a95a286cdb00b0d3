import { filled } from "../convert/fields.ts";
import { verboseInfo } from "../convert/info.ts";
import { fromSandboxStatus } from "../convert/sandbox.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

export function podSandboxStatus({
  sandboxes,
  runtimeSpec,
}: Pick<Services, "sandboxes" | "runtimeSpec">): RuntimeHandlers["PodSandboxStatus"] {
  return async ({ podSandboxId, verbose }) => {
    const status = sandboxes.status(filled(podSandboxId, "pod_sandbox_id"));
    return {
      status: fromSandboxStatus(status),
      ...(verbose && { info: verboseInfo({ ...sandboxes.verbose(status.id), runtimeSpec: await runtimeSpec(status.id) }) }),
    };
  };
}
