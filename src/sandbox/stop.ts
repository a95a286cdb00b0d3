import { CridError } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import { unmountShm } from "./dirs.ts";
import { endProcess } from "./end-process.ts";
import { type Env, markNotReady } from "./env.ts";
import { takeDownNetwork } from "./network.ts";
import { tellStopped } from "./plugins.ts";
import type { Pod } from "./pod.ts";
import { Timeline } from "./timeline.ts";

/**
 * Stops a pod whose lock the caller holds: its containers, then network and pause process at the same time, then what is mounted.
 * Every step is idempotent, and a repeated Stop goes on where the last one ended.
 *
 * @throws when a process could not be ended; a network that can't be taken down is no reason
 */
export async function stopPod(env: Env, pod: Pod, options: { signal: AbortSignal }): Promise<void> {
  const { deps } = env;
  const { signal } = options;
  pod.timeline = new Timeline("stop-pod-sandbox", deps.onStep);
  // First of all: nothing new may start in it, also after a crash in the middle of this.
  markNotReady(env, pod);
  await failpoint("sandbox.stop.after-not-ready", { signal });
  await pod.timeline.run("stop containers", { signal, timeoutMs: 60_000 }, ({ signal }) => stopContainers(env, pod, { signal }));
  await failpoint("sandbox.stop.after-containers", { signal });
  if (pod.record.state !== "creating") await tellStopped(env, pod);
  const network = takeDownNetwork(env, pod).then(() => failpoint("sandbox.stop.after-network", { signal }));
  const process = pod.timeline.run("end pause and shim", { signal, timeoutMs: 60_000 }, ({ signal }) => endPause(env, pod, { signal }));
  const results = await Promise.allSettled([network, process]);
  for (const result of results) if (result.status === "rejected") throw CridError.from(result.reason, `stop pod sandbox ${pod.title}`);
  unmountShm(pod.files);
  if (pod.netnsPath !== "") await deps.netns.remove(pod.id);
  await failpoint("sandbox.stop.after-netns", { signal });
}

async function endPause(env: Env, pod: Pod, options: { signal: AbortSignal }): Promise<void> {
  if (pod.record.process !== undefined) await endProcess(env, pod, options);
}

async function stopContainers(env: Env, pod: Pod, options: { signal: AbortSignal }): Promise<void> {
  const containers = env.containers();
  const stops = containers
    .list({ sandboxId: pod.id })
    .map(({ record }) => containers.stop(record.id, { graceMs: 0, signal: options.signal }));
  for (const result of await Promise.allSettled(stops)) if (result.status === "rejected") throw result.reason;
}
