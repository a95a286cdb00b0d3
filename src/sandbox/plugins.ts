import { raceAbort } from "../base/keyed-mutex.ts";
import type { Rollback } from "../base/rollback.ts";
import { criResourcesForPlugins } from "../oci/plugin-resources.ts";
import type { LinuxResources } from "../records/pod-config.ts";
import type { Env } from "./env.ts";
import type { Pod } from "./pod.ts";

const NOTICE_TIMEOUT_MS = 30_000;

/**
 * Asks the plugins whether the pod may be. Call it while their gate is entered. The undo tells them when it comes to nothing after all.
 *
 * @throws failed-precondition when one refuses
 */
export async function askToRun(env: Env, pod: Pod, options: { rollback: Rollback; signal: AbortSignal }): Promise<void> {
  const { plugins } = env.deps;
  if (plugins?.active !== true) return;
  const { rollback, signal } = options;
  rollback.push("plugins", async () => {
    await tellStopped(env, pod);
    await tellRemoved(env, pod);
  });
  await pod.timeline.run("plugins", { signal, timeoutMs: NOTICE_TIMEOUT_MS }, ({ signal }) =>
    plugins.podEvent("RunPodSandbox", { pod: pod.forPlugins() }, { signal }),
  );
}

/** Tells the plugins, once, that the pod's containers have ended and its network goes now. Never fails. */
export async function tellStopped(env: Env, pod: Pod): Promise<void> {
  if (pod.stopTold) return;
  pod.stopTold = true;
  await tell(env, pod, "StopPodSandbox");
}

/** Tells the plugins, once, that the pod goes. Never fails. */
export async function tellRemoved(env: Env, pod: Pod): Promise<void> {
  if (pod.removalTold) return;
  pod.removalTold = true;
  await tell(env, pod, "RemovePodSandbox");
}

/**
 * Asks the plugins before the pod's limits are changed, and tells them after.
 *
 * @throws failed-precondition when one refuses
 */
export async function updateWithPlugins(
  env: Env,
  pod: Pod,
  change: { overhead?: LinuxResources; resources?: LinuxResources },
  update: () => void,
  options: { signal: AbortSignal },
): Promise<void> {
  const { plugins } = env.deps;
  if (plugins?.active !== true) return update();
  using _hold = await plugins.enter(options);
  const { overhead, resources } = change;
  const limits = {
    ...(overhead !== undefined && { overhead: criResourcesForPlugins(overhead) }),
    ...(resources !== undefined && { resources: criResourcesForPlugins(resources) }),
  };
  await plugins.podEvent("UpdatePodSandbox", { pod: pod.forPlugins(), ...limits }, options);
  update();
  await plugins
    .podEvent("PostUpdatePodSandbox", { pod: pod.forPlugins() }, options)
    .catch((error: unknown) => env.deps.log.warn({ sandbox: pod.id, err: error }, "an NRI plugin did not take the notice of an update"));
}

async function tell(env: Env, pod: Pod, event: "StopPodSandbox" | "RemovePodSandbox"): Promise<void> {
  const { plugins, log } = env.deps;
  if (plugins?.active !== true) return;
  // Not the caller's signal: a plugin that is not told keeps what it holds for the pod.
  const signal = AbortSignal.any([env.closing.signal, AbortSignal.timeout(NOTICE_TIMEOUT_MS)]);
  try {
    using _hold = await plugins.enter({ signal });
    await raceAbort(plugins.podEvent(event, { pod: pod.forPlugins() }, { signal }), signal);
  } catch (error) {
    log.warn({ sandbox: pod.id, event, err: error }, "an NRI plugin did not take a notice");
  }
}
