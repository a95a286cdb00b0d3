import { filled } from "../convert/fields.ts";
import { verboseInfo } from "../convert/info.ts";
import { fromSandboxStatus } from "../convert/sandbox.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

export function podSandboxStatus({ sandboxes }: Pick<Services, "sandboxes">): RuntimeHandlers["PodSandboxStatus"] {
  return ({ podSandboxId, verbose }) => {
    const status = sandboxes.status(filled(podSandboxId, "pod_sandbox_id"));
    return {
      status: fromSandboxStatus(status),
      ...(verbose && { info: verboseInfo(sandboxes.verbose(status.id)) }),
    };
  };
}
