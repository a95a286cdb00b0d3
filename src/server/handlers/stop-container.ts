import { badField, exact, filled } from "../convert/fields.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** Longest grace that is waited for: about the longest time that a timer of Node can wait. */
const maxGraceSeconds = 2_000_000;

/** Succeeds for a container that does not run or does not exist. */
export function stopContainer({ containers }: Pick<Services, "containers">): RuntimeHandlers["StopContainer"] {
  return async ({ containerId, timeout }, { signal }) => {
    const seconds = exact(timeout, "timeout");
    if (seconds < 0) throw badField("timeout", `${seconds} is negative`);
    await containers.stop(filled(containerId, "container_id"), { graceMs: Math.min(seconds, maxGraceSeconds) * 1000, signal });
    return {};
  };
}
