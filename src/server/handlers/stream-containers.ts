import { containerList, toContainerFilter } from "../convert/container.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";
import { maxPageBytes } from "./pages.ts";

/** One consistent list, in pages. */
export function streamContainers(
  { containers }: Pick<Services, "containers">,
  list = containerList(),
): RuntimeHandlers["StreamContainers"] {
  return async function* ({ filter }) {
    yield* list.pages(containers.list(toContainerFilter(filter)), maxPageBytes);
  };
}
