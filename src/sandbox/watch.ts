import { setTimeout } from "node:timers/promises";
import { isKind } from "../base/errors.ts";
import { endProcess } from "./end-process.ts";
import { type Env, markNotReady } from "./env.ts";
import type { Pod } from "./pod.ts";

const FORCE_TIMEOUT_MS = 30_000;
const RECONNECT_PAUSE_MS = 500;

/**
 * Waits, for as long as the pod lives, for the end of its pause process or of its shim, and makes the pod not ready then. The wait on
 * the shim is the truth about exits; it costs one open call a pod.
 */
export function watchPause(env: Env, pod: Pod): void {
  void watch(env, pod).catch((error: unknown) => {
    if (pod.watching.signal.aborted) return;
    env.deps.log.error({ sandbox: pod.id, err: error }, "the watch of a pod failed");
  });
}

async function watch(env: Env, pod: Pod): Promise<void> {
  const { signal } = pod.watching;
  // A connection may break for other reasons than the shim's death: then the next round finds it alive.
  while (!signal.aborted) {
    const end = await untilEnd(pod, signal);
    if (signal.aborted) return;
    if (end === "connection lost") {
      await setTimeout(RECONNECT_PAUSE_MS, undefined, { signal });
      continue;
    }
    using _lock = await env.locks.acquire(pod.id, { signal });
    if (!pod.ready) return;
    env.deps.log.warn({ sandbox: pod.id, pod: pod.title, end }, "the pod is not ready any more");
    markNotReady(env, pod);
    if (end === "shim died") await endProcess(env, pod, { signal: AbortSignal.timeout(FORCE_TIMEOUT_MS) });
    return;
  }
}

async function untilEnd(pod: Pod, signal: AbortSignal): Promise<"pause ended" | "shim died" | "connection lost"> {
  try {
    const shim = await pod.shim({ signal });
    await shim.wait(pod.id, { signal });
    return "pause ended";
  } catch (error) {
    if (isKind(error, "not-found")) return "pause ended";
    if (pod.connected !== undefined) return "connection lost";
  }
  try {
    await pod.shim({ signal });
    return "connection lost";
  } catch (error) {
    // A shim that listens but does not answer may just be short of CPU: it is asked again, not killed (facts: complaint 8).
    return isKind(error, "unavailable") ? "shim died" : "connection lost";
  }
}
