import { sandboxList, toSandboxFilter } from "../convert/sandbox.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";
import { maxPageBytes } from "./pages.ts";

/** One consistent list, in pages. */
export function streamPodSandboxes(
  { sandboxes }: Pick<Services, "sandboxes">,
  list = sandboxList(),
): RuntimeHandlers["StreamPodSandboxes"] {
  return async function* ({ filter }) {
    yield* list.pages(sandboxes.list(toSandboxFilter(filter)), maxPageBytes);
  };
}
