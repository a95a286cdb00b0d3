import { fromContainerStatus, verboseContainer } from "../convert/container.ts";
import { filled } from "../convert/fields.ts";
import { verboseInfo } from "../convert/info.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

export function containerStatus({ containers }: Pick<Services, "containers">): RuntimeHandlers["ContainerStatus"] {
  return ({ containerId, verbose }) => {
    const view = containers.get(filled(containerId, "container_id"));
    return {
      status: fromContainerStatus(view),
      ...(verbose && { info: verboseInfo(verboseContainer(view)) }),
    };
  };
}
