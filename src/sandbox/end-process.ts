import { setTimeout } from "node:timers/promises";
import { CridError, isKind } from "../base/errors.ts";
import { raceAbort } from "../base/keyed-mutex.ts";
import { linkSignals } from "../base/signals.ts";
import { clearLostCreate, settleCreate } from "../container/lost-create.ts";
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
    const existed = await endTask(pod, shim, options);
    await shutDown(pod, shim, options);
    if (!existed) await clearLost(env, pod, options);
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

/** @returns false when the Create was given up, and there is no task */
async function endTask(pod: Pod, shim: PodShim, options: { signal: AbortSignal }): Promise<boolean> {
  const process = pod.record.process;
  if ((process === undefined || process.pid === 0) && !(await settleCreate(shim, pod.id, options))) return false;
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
  return true;
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
  const { shims, log } = env.deps;
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
  await clearLost(env, pod, options);
}

async function clearLost(env: Env, pod: Pod, options: { signal: AbortSignal }): Promise<void> {
  using link = linkSignals({ signals: [options.signal], timeoutMs: DELETE_TIMEOUT_MS, step: "shim delete" });
  const binary = pod.record.process?.shim.binary ?? pod.runtime.shimBinary;
  const cgroup = pod.containerCgroupsPath(pod.id);
  await clearLostCreate(env.deps, { id: pod.id, bundle: pod.files.bundle, binary, cgroup }, { signal: link.signal });
}
