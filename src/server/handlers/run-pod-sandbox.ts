import { toPodConfig } from "../convert/pod-config.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

export function runPodSandbox({ sandboxes }: Pick<Services, "sandboxes">): RuntimeHandlers["RunPodSandbox"] {
  return async ({ config, runtimeHandler }, { signal }) => ({
    podSandboxId: await sandboxes.run({ config: toPodConfig(config), runtimeHandler }, { signal }),
  });
}
