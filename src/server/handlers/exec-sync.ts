import { badField, exact, filled } from "../convert/fields.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** The kubelet tells a probe that timed out from one that failed by the code DEADLINE_EXCEEDED. */
export function execSync({ containers }: Pick<Services, "containers">): RuntimeHandlers["ExecSync"] {
  return async ({ containerId, cmd, timeout }, { signal }) => {
    const seconds = exact(timeout, "timeout");
    if (seconds < 0) throw badField("timeout", `${seconds} is negative`);
    if (cmd.length === 0) throw badField("cmd", "is required");
    return containers.execSync(filled(containerId, "container_id"), { cmd, timeoutMs: seconds * 1000, signal });
  };
}
