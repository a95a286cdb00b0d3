import { fromContainerStatus, verboseContainer } from "../convert/container.ts";
import { filled } from "../convert/fields.ts";
import { verboseInfo } from "../convert/info.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

export function containerStatus({
  containers,
  runtimeSpec,
}: Pick<Services, "containers" | "runtimeSpec">): RuntimeHandlers["ContainerStatus"] {
  return async ({ containerId, verbose }) => {
    const view = containers.get(filled(containerId, "container_id"));
    return {
      status: fromContainerStatus(view),
      ...(verbose && { info: verboseInfo({ ...verboseContainer(view), runtimeSpec: await runtimeSpec(view.record.id) }) }),
    };
  };
}
