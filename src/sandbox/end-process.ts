import { setTimeout } from "node:timers/promises";
import { CridError, isKind } from "../base/errors.ts";
import { raceAbort } from "../base/keyed-mutex.ts";
import { linkSignals } from "../base/signals.ts";
import { childrenOf } from "../linux/children.ts";
import { kill, killExactly } from "../linux/process.ts";
import type { PodShim } from "./deps.ts";
import type { Env } from "./env.ts";
import type { Pod } from "./pod.ts";

const SIGKILL = 9;
const CONNECT_TIMEOUT_MS = 3_000;
/** SIGKILL needs no time; this is for a shim that hangs. */
const EXIT_TIMEOUT_MS = 5_000;
const DELETE_TIMEOUT_MS = 10_000;
const SHUTDOWN_TIMEOUT_MS = 3_000;
const SHUTDOWN_RETRY_MS = 25;
const CREATE_SETTLE_TIMEOUT_MS = 20_000;
const POLL_MS = 20;

/**
 * Ends the pause process and the shim: kill, wait, delete the task, shut the shim down. When the shim doesn't answer, its `delete`
 * action cleans up after it. Idempotent; also for a shim whose start half-succeeded.
 *
 * @throws when the process or the shim could not be ended: they are still on record then
 */
export async function endProcess(env: Env, pod: Pod, options: { signal: AbortSignal }): Promise<void> {
  pod.watching.abort();
  const shim = await findShim(env, pod, options);
  try {
    if (shim === undefined) throw new CridError("unavailable", "there is no shim");
    await endTask(pod, shim, options);
    await shutDown(pod, shim, options);
  } catch (error) {
    if (shim !== undefined)
      env.deps.log.warn({ sandbox: pod.id, err: error }, "the pod's shim could not be ended in order; ending it by force");
    await endByForce(env, pod, options);
  }
  pod.disconnect();
  if (pod.record.process === undefined) return;
  const { process: _ended, ...rest } = pod.record;
  env.deps.store.sandboxes.put(rest);
  pod.replaced(rest);
}

/** The pod's shim, also one that was started just before the daemon died. Undefined when none answers. */
async function findShim(env: Env, pod: Pod, options: { signal: AbortSignal }): Promise<PodShim | undefined> {
  const limits = { signal: options.signal, timeoutMs: CONNECT_TIMEOUT_MS };
  try {
    if (pod.record.process !== undefined || pod.connected !== undefined) return await pod.shim(limits);
    const shim = await env.deps.shims.find({ id: pod.id, bundle: pod.files.bundle, binary: pod.runtime.shimBinary }, limits);
    if (shim !== undefined) pod.attachShim(shim);
    return shim;
  } catch (error) {
    env.deps.log.warn({ sandbox: pod.id, err: error }, "the pod's shim does not answer");
    return undefined;
  }
}

async function endTask(pod: Pod, shim: PodShim, options: { signal: AbortSignal }): Promise<void> {
  const process = pod.record.process;
  if (process === undefined || process.pid === 0) await settleCreate(pod, shim, options);
  using link = linkSignals({ signals: [options.signal], timeoutMs: EXIT_TIMEOUT_MS, step: "end the pause process" });
  const { signal } = link;
  try {
    // By pidfd: the runtime's kill would start a process of its own for the same system call.
    const killed = process !== undefined && process.pid > 0 && killExactly(process.pid, process.pidStart, SIGKILL);
    if (!killed) await shim.kill(pod.id, { signal: SIGKILL, all: false }, { signal });
    await shim.wait(pod.id, { signal });
  } catch (error) {
    // No such task, or it has ended already: both is what is wanted.
    if (!isKind(error, "not-found") && !isKind(error, "failed-precondition")) throw error;
  }
  using last = linkSignals({ signals: [options.signal], timeoutMs: DELETE_TIMEOUT_MS, step: "delete the pause task" });
  try {
    await shim.delete(pod.id, { signal: last.signal });
  } catch (error) {
    if (!isKind(error, "not-found")) throw error;
  }
}

/**
 * A Create whose caller has gone (its time was over, or the daemon was killed) goes on in the shim: the task appears when the OCI runtime
 * is done. Waits until it is there, or nothing is under way.
 */
async function settleCreate(pod: Pod, shim: PodShim, options: { signal: AbortSignal }): Promise<void> {
  using link = linkSignals({ signals: [options.signal], timeoutMs: CREATE_SETTLE_TIMEOUT_MS, step: "wait for a create under way" });
  for (;;) {
    // In this order: between the two questions a task may appear, but the runtime can't go unseen.
    const busy = childrenOf(shim.pid).length > 0;
    try {
      await shim.state(pod.id, { signal: link.signal });
      return;
    } catch (error) {
      if (!isKind(error, "not-found")) throw error;
    }
    if (!busy) return;
    await setTimeout(POLL_MS, undefined, { signal: link.signal });
  }
}

/** A shim refuses to end while it holds tasks: those of the containers, which have ended by now, are removed in these moments. */
async function shutDown(pod: Pod, shim: PodShim, options: { signal: AbortSignal }): Promise<void> {
  using link = linkSignals({ signals: [options.signal], timeoutMs: SHUTDOWN_TIMEOUT_MS, step: "shut the shim down" });
  for (let closed = false; !closed; ) {
    await shim.shutdown(pod.id, { signal: link.signal });
    const pause = setTimeout(SHUTDOWN_RETRY_MS, false);
    closed = await raceAbort(Promise.race([shim.closed.then(() => true), pause]), link.signal);
  }
}

/** Also for a shim that hangs: it is found in /proc, as nobody answers who could tell its pid. */
async function endByForce(env: Env, pod: Pod, options: { signal: AbortSignal }): Promise<void> {
  const { shims, cgroups, log } = env.deps;
  const { process } = pod.record;
  if (process !== undefined && process.pid > 0) killExactly(process.pid, process.pidStart, SIGKILL);
  for (const { id, pid } of await shims.list()) {
    if (id !== pod.id) continue;
    log.warn({ sandbox: pod.id, shim: pid }, "killing the pod's shim: its pod ends and it does not");
    // Its children are the pod's processes, and a runtime that may be making more. They would outlive it.
    const children = childrenOf(pid);
    kill(pid, SIGKILL);
    for (const child of children) kill(child, SIGKILL);
  }
  using link = linkSignals({ signals: [options.signal], timeoutMs: DELETE_TIMEOUT_MS, step: "shim delete" });
  try {
    const binary = process?.shim.binary ?? pod.runtime.shimBinary;
    await shims.delete({ id: pod.id, bundle: pod.files.bundle, binary }, { signal: link.signal });
  } catch (error) {
    // Without a bundle there was never a task, or the state directory was emptied: then so was the runtime's state.
    if (!isKind(error, "not-found")) throw error;
  }
  // A runtime that was killed before it wrote its state down leaves the cgroup, and nobody else knows of it.
  const cgroup = pod.containerCgroupsPath(pod.id);
  await cgroups.killAll(cgroup);
  await cgroups.remove(cgroup);
}
