import { toJson } from "../convert/info.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/**
 * The node's readiness. The kubelet makes the Node NotReady while one of the two conditions is false; kubeadm reads
 * `sandboxImage` in info["config"].
 */
export function status({ node }: Pick<Services, "node">): RuntimeHandlers["Status"] {
  return async ({ verbose }) => ({
    status: {
      conditions: [condition("RuntimeReady", node.runtime()), condition("NetworkReady", node.network())],
    },
    runtimeHandlers: (await node.handlers()).map(({ name, recursiveReadOnlyMounts, userNamespaces }) => ({
      name,
      features: { recursiveReadOnlyMounts, userNamespaces },
    })),
    features: node.features(),
    ...(verbose && { info: Object.fromEntries(Object.entries(await node.verbose()).map(([key, value]) => [key, toJson(value)])) }),
  });
}

function condition(type: string, { ready, reason, message }: { ready: boolean; reason: string; message: string }) {
  return { type, status: ready, reason, message };
}
