import type { Rollback } from "../base/rollback.ts";
import type { CniPod } from "../cni/runtime-args.ts";
import type { CniAttachment } from "../records/cni-attachment.ts";
import type { CniRetryRecord } from "../records/cni-retry-record.ts";
import type { PodConfig } from "../records/pod-config.ts";
import type { SandboxDeps } from "./deps.ts";
import type { Env } from "./env.ts";
import type { Pod } from "./pod.ts";

/** The plugins have limits of their own; this one is for a driver that never answers. */
const ADD_TIMEOUT_MS = 180_000;
const DEL_TIMEOUT_MS = 60_000;

/** What the network of a pod will be, known before any of it exists. */
export function planNetwork(
  id: string,
  config: PodConfig,
  deps: Pick<SandboxDeps, "cni" | "netns">,
): { netnsPath: string; attachments: CniAttachment[] } {
  if (config.security.namespaces.network === "node") return { netnsPath: "", attachments: [] };
  const netnsPath = deps.netns.path(id);
  return { netnsPath, attachments: deps.cni.plan(cniPod(id, config, netnsPath)) };
}

/**
 * Attaches the pod's network namespace, which exists, to its networks. The results are on disk before this returns, as DEL needs
 * them.
 */
export async function setUpNetwork(env: Env, pod: Pod, options: { rollback: Rollback; signal: AbortSignal }): Promise<void> {
  const { deps } = env;
  const networks = cniPod(pod.id, pod.config, pod.netnsPath);
  // Before the ADD: one that fails may have taken an address all the same.
  options.rollback.push("network", () => takeDownNetwork(env, pod));
  using _inside = await env.networkGate.enter({ signal: options.signal });
  const ips: string[] = [];
  for (const [index, planned] of pod.record.attachments.entries()) {
    await pod.timeline.run(`CNI ADD ${planned.networkName}`, { signal: options.signal, timeoutMs: ADD_TIMEOUT_MS }, async ({ signal }) => {
      const added = await deps.cni.add(planned, networks, { signal });
      ips.push(...added.ips);
      pod.update({ attachments: pod.record.attachments.with(index, added.attachment), ips: [...ips] });
    });
  }
}

/**
 * Detaches the pod from its networks, last one first. Never fails for a plugin's sake: what can't be detached goes to the retry
 * queue, in the same commit that takes it off the pod. Idempotent.
 *
 * @throws only what the store throws
 */
export async function takeDownNetwork(env: Env, pod: Pod): Promise<void> {
  const { store } = env.deps;
  for (let last = pod.record.attachments.at(-1); last !== undefined; last = pod.record.attachments.at(-1)) {
    const retry = await detach(env, pod, last);
    // From the record as it is by now: the process goes at the same time.
    const attachments = pod.record.attachments.slice(0, -1);
    const next = { ...pod.record, attachments, ips: attachments.length === 0 ? [] : pod.record.ips };
    store.transaction(
      () => {
        if (retry !== undefined) store.cniRetries.put(retry);
        store.sandboxes.put(next);
      },
      { frees: true },
    );
    pod.replaced(next);
    if (retry !== undefined) env.retries.wake();
  }
}

/**
 * A caller that goes away does not break a DEL off: its next Stop would succeed, with address and host ports taken until the retry.
 *
 * @returns what is to be tried again when the DEL failed
 */
async function detach(env: Env, pod: Pod, attachment: CniAttachment): Promise<CniRetryRecord | undefined> {
  const { deps } = env;
  const { netnsPath } = pod;
  try {
    await pod.timeline.run(`CNI DEL ${attachment.networkName}`, { signal: env.closing.signal, timeoutMs: DEL_TIMEOUT_MS }, ({ signal }) =>
      deps.cni.del(attachment, { id: pod.id, netnsPath }, { signal }),
    );
    return undefined;
  } catch (error) {
    deps.log.warn(
      { sandbox: pod.id, network: attachment.networkName, err: error },
      "CNI DEL failed; it is tried again later, the pod goes on without it",
    );
    return env.retries.record({ id: pod.id, name: `${pod.config.namespace}/${pod.config.name}`, netnsPath }, attachment, error);
  }
}

/** The pod as the CNI driver sees it; the driver reads what the annotations say about bandwidth. */
function cniPod(id: string, config: PodConfig, netnsPath: string): CniPod {
  const { name, namespace, uid, portMappings, dns, annotations, labels, cgroupParent } = config;
  return {
    id,
    netnsPath,
    name,
    namespace,
    uid,
    portMappings,
    ...(dns !== undefined && { dns }),
    annotations,
    labels,
    ...(cgroupParent !== "" && { cgroupPath: cgroupParent }),
  };
}
