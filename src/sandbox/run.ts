import { closeSync, constants, mkdirSync, openSync } from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { CridError } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import { newId } from "../base/ids.ts";
import { Rollback } from "../base/rollback.ts";
import { linkSignals } from "../base/signals.ts";
import { nowNanos } from "../base/time.ts";
import { MS_BIND, mount } from "../linux/mount.ts";
import { freeLevel, levelOf } from "../oci/selinux.ts";
import { touchesInterfaces } from "../oci/sysctls.ts";
import type { PodConfig } from "../records/pod-config.ts";
import { type Env, publish } from "./env.ts";
import { planNetwork, setUpNetwork } from "./network.ts";
import { startPause } from "./pause.ts";
import { askToRun } from "./plugins.ts";
import { Pod } from "./pod.ts";
import { type RuntimeHandler, runtimeHandler } from "./runtime-handlers.ts";
import { watchPause } from "./watch.ts";

const NETNS_TIMEOUT_MS = 30_000;
const UNDO_TIMEOUT_MS = 90_000;

export interface RunRequest {
  config: PodConfig;
  /** "" = the default. */
  runtimeHandler: string;
}

/** The name that is unique on the node: a retried RunPodSandbox comes with the same, a new attempt of the pod with another. */
export function reservedName(config: PodConfig): string {
  return [config.name, config.namespace, config.uid, config.attempt].join("_");
}

/**
 * Makes a pod: its record with all intents first, then network and pause process at the same time, then ready. When a step fails all
 * is undone; what can't be undone stays on record as a pod that is not ready.
 *
 * @returns the id
 * @throws invalid-argument (handler, sysctl, annotation), failed-precondition (no network configuration, no shim), and what the
 * failing step threw, with its name
 */
export async function runPodSandbox(env: Env, request: RunRequest, options: { signal: AbortSignal }): Promise<string> {
  const { deps } = env;
  const { config } = request;
  // What is missing is named before anything is made.
  const handler = runtimeHandler(request.runtimeHandler, deps.settings);
  const id = newId();
  const pod = new Pod(
    {
      id,
      config,
      runtimeHandler: request.runtimeHandler,
      reservedName: reservedName(config),
      createdAt: nowNanos(),
      state: "creating",
      ips: [],
      ...planSelinux(env, config),
      ...planNetwork(id, config, deps),
    },
    deps,
  );
  using _lock = await env.locks.acquire(id, options);
  deps.store.sandboxes.put(pod.record);
  env.pods.set(id, pod);
  const rollback = new Rollback({ log: deps.log.child({ sandbox: id }), timeoutMs: UNDO_TIMEOUT_MS });
  try {
    await using _undo = rollback;
    await failpoint("sandbox.run.after-record", options);
    await makePod(env, pod, { handler, rollback, signal: options.signal });
    // Until the pod can be listed: a plugin that comes meanwhile learns of it either way, and once.
    using _hold = await deps.plugins?.enter(options);
    await askToRun(env, pod, { rollback, signal: options.signal });
    await failpoint("sandbox.run.before-ready", options);
    pod.update({ state: "ready" });
    rollback.disarm();
  } catch (error) {
    forget(env, pod, rollback);
    throw CridError.from(error, `run pod sandbox ${pod.title}`);
  }
  watchPause(env, pod);
  publish(env, "created", pod);
  publish(env, "started", pod);
  deps.log.info({ sandbox: id, pod: `${config.namespace}/${config.name}`, ips: pod.record.ips, steps: pod.timeline.steps }, "pod is ready");
  return id;
}

/** The two branches. When one fails the other is stopped and waited for, and the first error is the one that is thrown. */
async function makePod(env: Env, pod: Pod, options: { handler: RuntimeHandler; rollback: Rollback; signal: AbortSignal }): Promise<void> {
  const { handler, rollback } = options;
  const failed = new AbortController();
  let first: unknown;
  const branch = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error: unknown) => {
      first ??= error;
      failed.abort(error);
      throw error;
    });
  using link = linkSignals({ signals: [options.signal, failed.signal], step: "run pod sandbox" });
  const { signal } = link;
  const { promise: created, resolve: onCreated, reject: neverCreated } = Promise.withResolvers<number>();
  if (signal.aborted) neverCreated(signal.reason);
  else signal.addEventListener("abort", () => neverCreated(signal.reason), { once: true });

  const namespace = branch(pod.hostNetwork ? Promise.resolve() : makeNetns(env, pod, { rollback, signal, created }));
  const network = branch(
    namespace
      .then(() => (pod.hostNetwork ? undefined : setUpNetwork(env, pod, { rollback, signal })))
      .then(() => failpoint("sandbox.run.after-network", { signal })),
  );
  const networkReady = pod.ownUserns ? Promise.resolve() : needsNetworkFirst(pod.config) ? network : namespace;
  // The network takes longer: its first plugin is started before this thread gets busy with the bundle.
  const process = branch(setImmediate().then(() => startPause(env, pod, { handler, rollback, signal, networkReady, onCreated })));
  await Promise.allSettled([namespace, network, process, created]);
  if (first !== undefined) throw first;
  options.signal.throwIfAborted();
}

/** Where SELinux is enabled: categories that no other pod has, unless the pod names its own. */
function planSelinux({ deps, pods }: Env, config: PodConfig): { selinuxLevel?: string } {
  if (deps.specHost.selinux === undefined || (config.security.selinux?.level ?? "") !== "") return {};
  return { selinuxLevel: freeLevel(new Set([...pods.values()].map((pod) => levelOf(pod.selinuxLabel)))) };
}

/** runc writes sysctls when it creates the pause; those that name an interface need the interface (facts: shim.md). */
function needsNetworkFirst(config: PodConfig): boolean {
  return config.security.namespaces.network !== "node" && Object.keys(config.sysctls).some(touchesInterfaces);
}

/** The pod's network namespace: made by us; or, when a user namespace must own it, taken from the pause that the runtime made. */
async function makeNetns(
  env: Env,
  pod: Pod,
  options: { rollback: Rollback; signal: AbortSignal; created: Promise<number> },
): Promise<void> {
  const { deps } = env;
  options.rollback.push("network namespace", () => deps.netns.remove(pod.id));
  if (pod.ownUserns) {
    const pid = await options.created;
    await pod.timeline.run("network namespace", { signal: options.signal, timeoutMs: NETNS_TIMEOUT_MS }, () =>
      bindNetns(pid, pod.netnsPath),
    );
  } else {
    await pod.timeline.run("network namespace", { signal: options.signal, timeoutMs: NETNS_TIMEOUT_MS }, () => deps.netns.create(pod.id));
  }
  await failpoint("sandbox.run.after-netns", { signal: options.signal });
}

function bindNetns(pid: number, target: string): void {
  mkdirSync(path.dirname(target), { recursive: true, mode: 0o711 });
  closeSync(openSync(target, constants.O_RDONLY | constants.O_CREAT | constants.O_EXCL, 0o444));
  mount(`/proc/${pid}/ns/net`, target, "", MS_BIND);
}

/** After the undo: the record goes when nothing is left, else it stays for Stop, Remove and the next start. */
function forget(env: Env, pod: Pod, rollback: Rollback): void {
  const { deps } = env;
  try {
    pod.disconnect();
    if (rollback.failed.length === 0) {
      deps.store.sandboxes.delete(pod.id);
      env.pods.delete(pod.id);
    } else {
      pod.update({ state: "not-ready" });
      deps.log.error(
        { sandbox: pod.id, left: rollback.failed },
        "a failed pod could not be undone; it stays as not ready until it is removed",
      );
    }
  } catch (error) {
    deps.log.error({ sandbox: pod.id, err: error }, "could not record how the undo of a failed pod ended");
  }
}
