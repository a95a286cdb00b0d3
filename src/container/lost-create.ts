import { setTimeout as sleep } from "node:timers/promises";
import { isKind } from "../base/errors.ts";
import { linkSignals } from "../base/signals.ts";
import { childrenOf, commandLine } from "../linux/children.ts";
import type { ContainerCgroups, ContainerShim, ShimCleaner } from "./deps.ts";

/*
 * A Create whose caller has gone. When the caller's time was over, it goes on in the shim, and the task appears once the OCI runtime is done. When the daemon
 * was killed, the shim kills the runtime with the connection, and what that had made so far is nobody's: its state, its cgroup, the mounted root file
 * system.
 */

const SETTLE_TIMEOUT_MS = 20_000;
const POLL_MS = 30;
/** The shim mounts the root file system before it runs the runtime: one look at its children could be too early. */
const QUIET_ROUNDS = 3;

/**
 * Waits until a Create that may be under way is over.
 *
 * @returns whether there is a task
 * @throws deadline-exceeded when the runtime does not come to an end
 */
export async function settleCreate(
  shim: Pick<ContainerShim, "pid" | "state">,
  id: string,
  options: { signal: AbortSignal },
): Promise<boolean> {
  using link = linkSignals({ signals: [options.signal], timeoutMs: SETTLE_TIMEOUT_MS, step: "wait for a create under way" });
  for (let quiet = 0; quiet < QUIET_ROUNDS; ) {
    // In this order: between the two questions a task may appear, but the runtime can't go unseen.
    const busy = childrenOf(shim.pid).some((pid) => commandLine(pid).includes(id));
    try {
      await shim.state(id, { signal: link.signal });
      return true;
    } catch (error) {
      if (!isKind(error, "not-found")) throw error;
    }
    quiet = busy ? 0 : quiet + 1;
    await sleep(POLL_MS, undefined, { signal: link.signal });
  }
  return false;
}

/** Removes what a runtime left that was killed halfway: its state and mounts, and the cgroup with all that runs in it. Idempotent. */
export async function clearLostCreate(
  drivers: { shims: ShimCleaner; cgroups: Pick<ContainerCgroups, "killAll" | "remove"> },
  task: { id: string; bundle: string; binary: string; cgroup: string },
  options: { signal: AbortSignal },
): Promise<void> {
  try {
    await drivers.shims.delete(task, options);
  } catch (error) {
    // Without a bundle there was never a task, or the state directory was emptied: then so was the runtime's state.
    if (!isKind(error, "not-found")) throw error;
  }
  // A runtime that was killed before it wrote its state down leaves the cgroup, and nobody else knows of it.
  await drivers.cgroups.killAll(task.cgroup);
  await drivers.cgroups.remove(task.cgroup);
}
