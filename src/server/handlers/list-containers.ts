import { containerList, toContainerFilter } from "../convert/container.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

export function listContainers({ containers }: Pick<Services, "containers">, list = containerList()): RuntimeHandlers["ListContainers"] {
  return ({ filter }) => list.join(containers.list(toContainerFilter(filter)));
}
