import type { KeyedMutex } from "../base/keyed-mutex.ts";
import { nowNanos } from "../base/time.ts";
import type { LifecycleEventType } from "../container/events.ts";
import type { PodContainers, SandboxDeps } from "./deps.ts";
import type { Pod } from "./pod.ts";
import type { CniRetries } from "./retries.ts";

/** What the operations on pods share. */
export interface Env {
  deps: SandboxDeps;
  pods: Map<string, Pod>;
  locks: KeyedMutex;
  retries: CniRetries;
  /** Known once the containers are made; see `Sandboxes.useContainers`. */
  containers(): PodContainers;
}

export function publish(env: Env, type: LifecycleEventType, pod: Pod): void {
  env.containers().events.publish({ type, containerId: pod.id, sandboxId: pod.id, at: nowNanos() });
}

/** From here on nothing is created or started in the pod. Idempotent. */
export function markNotReady(env: Env, pod: Pod): void {
  if (pod.record.state === "not-ready") return;
  const wasReady = pod.ready;
  pod.update({ state: "not-ready" });
  if (wasReady) publish(env, "stopped", pod);
}
