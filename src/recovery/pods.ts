import { CridError, isKind } from "../base/errors.ts";
import { linkSignals } from "../base/signals.ts";
import { endProcess } from "../sandbox/end-process.ts";
import { type Env, markNotReady } from "../sandbox/env.ts";
import { takeDownNetwork } from "../sandbox/network.ts";
import type { Pod } from "../sandbox/pod.ts";
import { removePod } from "../sandbox/remove.ts";
import { watchPause } from "../sandbox/watch.ts";

/** For one shim to answer; all are asked at the same time. */
const CONNECT_TIMEOUT_MS = 5_000;
/** For undoing or removing one pod, which runs plugins and the OCI runtime. */
const UNDO_TIMEOUT_MS = 90_000;

/** running: its pause is watched again. ended: not ready. undone, removed: gone. failed: left for Stop, Remove and the next start. */
export type PodOutcome = "running" | "ended" | "undone" | "removed" | "failed";

/** Whether something was begun and not ended when the daemon did: it is undone or finished. */
export function isUnfinished(pod: Pod): boolean {
  return pod.record.state === "creating" || pod.record.removing === true;
}

/** Brings one pod into the state that its record and the machine call for. Never throws. */
export async function recoverPod(env: Env, pod: Pod, options: { rebooted: boolean; signal: AbortSignal }): Promise<PodOutcome> {
  const log = env.deps.log.child({ sandbox: pod.id, pod: `${pod.config.namespace}/${pod.config.name}` });
  using link = linkSignals({ signals: [options.signal], timeoutMs: UNDO_TIMEOUT_MS, step: "recover a pod" });
  const { signal } = link;
  try {
    using _lock = await env.locks.acquire(pod.id, { signal });
    // A Remove, or a RunPodSandbox of the same name, was faster.
    if (!env.pods.has(pod.id)) return "removed";
    if (pod.record.state === "creating") {
      log.info("undoing a pod that was being made when the daemon ended");
      await removePod(env, pod, { signal });
      return "undone";
    }
    if (pod.record.removing === true) {
      log.info("finishing the removal of a pod");
      await removePod(env, pod, { signal });
      return "removed";
    }
    if (options.rebooted) {
      await takeDownNetwork(env, pod);
      return "ended";
    }
    return pod.ready ? await reconnect(env, pod, signal) : "ended";
  } catch (error) {
    log.warn({ err: error }, "recovering a pod failed; it is left for the kubelet and the next start");
    return "failed";
  }
}

async function reconnect(env: Env, pod: Pod, signal: AbortSignal): Promise<PodOutcome> {
  const { log } = env.deps;
  try {
    const shim = await pod.shim({ signal, timeoutMs: CONNECT_TIMEOUT_MS });
    using link = linkSignals({ signals: [signal], timeoutMs: CONNECT_TIMEOUT_MS, step: "state of the pause process" });
    const { status } = await shim.state(pod.id, { signal: link.signal });
    if (status === "stopped" || status === "created") throw new CridError("not-found", `the pause process is ${status}`);
  } catch (error) {
    // The daemon is told to stop, which is "unavailable" as well: nothing is known about the shim.
    signal.throwIfAborted();
    if (isKind(error, "not-found")) {
      log.warn({ sandbox: pod.id, err: error }, "the pod's pause process ended while the daemon was away");
      markNotReady(env, pod);
      return "ended";
    }
    if (isKind(error, "unavailable")) {
      log.warn({ sandbox: pod.id, err: error }, "the pod's shim died while the daemon was away; cleaning up after it");
      markNotReady(env, pod);
      await endProcess(env, pod, { signal });
      return "ended";
    }
    // It listens and does not answer: the watch goes on asking.
    log.warn({ sandbox: pod.id, err: error }, "the pod's shim does not answer in time");
  }
  watchPause(env, pod);
  return "running";
}
