import { sandboxList, toSandboxFilter } from "../convert/sandbox.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

export function listPodSandbox({ sandboxes }: Pick<Services, "sandboxes">, list = sandboxList()): RuntimeHandlers["ListPodSandbox"] {
  return ({ filter }) => list.join(sandboxes.list(toSandboxFilter(filter)));
}
