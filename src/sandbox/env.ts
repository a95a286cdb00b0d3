import type { Gate } from "../base/gate.ts";
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
  /** An ADD must not run beside a CNI GC, which would take its address for a leaked one. */
  networkGate: Gate;
  /** Aborts when the daemon stops. */
  closing: AbortController;
  /** Known once the containers are made; see `Sandboxes.useContainers`. */
  containers(): PodContainers;
}

export function publish(env: Env, type: LifecycleEventType, pod: Pod): void {
  env.containers().events.publish({ type, containerId: pod.id, sandboxId: pod.id, at: nowNanos() });
}

/** From here on nothing is created or started in the pod. Idempotent. One that is being made stays "creating": it never was ready. */
export function markNotReady(env: Env, pod: Pod): void {
  if (!pod.ready) return;
  pod.update({ state: "not-ready" });
  publish(env, "stopped", pod);
}
