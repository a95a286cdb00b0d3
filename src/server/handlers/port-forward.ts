import { CridError } from "../../base/errors.ts";
import { filled } from "../convert/fields.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

export function portForward({ sandboxes, streaming }: Pick<Services, "sandboxes" | "streaming">): RuntimeHandlers["PortForward"] {
  return ({ podSandboxId, port }) => {
    const pod = sandboxes.status(filled(podSandboxId, "pod_sandbox_id"));
    if (pod.state !== "ready") throw new CridError("failed-precondition", `port-forward to pod ${pod.id}: the pod is not ready`);
    return { url: streaming.portForward({ sandboxId: pod.id, ports: port }) };
  };
}
