import { isKind } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { Containers } from "../container/containers.ts";
import type { Sandboxes } from "../sandbox/sandboxes.ts";
import type { RecoveredContainers } from "./deps.ts";

export interface ContainerRecoveryDeps {
  containers: Containers;
  sandboxes: Pick<Sandboxes, "find">;
  /** The ids whose output the logger has open; it outlives the daemon. */
  logger: { list(): Promise<string[]> };
  log: Logger;
}

/**
 * The containers' part of a start. Reads the records into memory at once, so that List and Status are right from the first call
 * on; then, pod by pod and after the pod itself: undoes interrupted creations, finishes interrupted removals, follows running
 * containers again through the pod's shim, and ends those whose shim is gone.
 */
export function containerRecovery(deps: ContainerRecoveryDeps): RecoveredContainers {
  const { containers, sandboxes, log } = deps;
  const { interrupted } = containers.load();
  let open: Promise<ReadonlySet<string>> | undefined;
  const openLogs = (): Promise<ReadonlySet<string>> => {
    open ??= deps.logger.list().then((ids) => new Set(ids));
    return open;
  };

  async function recoverOne(id: string, sandboxId: string, removing: boolean, signal: AbortSignal): Promise<void> {
    if (removing) {
      log.info({ container: id }, "finishing the removal of a container");
      await containers.remove(id, { signal });
      return;
    }
    const pod = sandboxes.find(sandboxId);
    try {
      const shim = await pod?.shim({ signal });
      if (shim === undefined) await containers.lose(id, "its pod is gone");
      else await containers.adopt(id, shim, { logOpen: (await openLogs()).has(id), signal });
    } catch (error) {
      // A shim that is slow is not dead: whoever asks for the container next tries again. Nor is one whose daemon is told to stop
      // just now; that is "unavailable", too.
      if (signal.aborted || !isKind(error, "unavailable")) throw error;
      await containers.lose(id, "its shim died while the daemon was away");
    }
  }

  return {
    async recover(sandboxId, { signal }) {
      const attempt = async (id: string, run: () => Promise<void>): Promise<void> => {
        try {
          await run();
        } catch (error) {
          log.warn({ container: id, sandbox: sandboxId, err: error }, "recovering a container failed; it is left for the next start");
        }
      };
      for (const record of interrupted.filter((one) => one.sandboxId === sandboxId)) {
        log.info({ container: record.id }, "undoing a container that was being made when the daemon ended");
        await attempt(record.id, () => containers.undoCreation(record));
      }
      await Promise.all(
        containers
          .list({ sandboxId })
          .map(({ record }) => attempt(record.id, () => recoverOne(record.id, sandboxId, record.status.removing, signal))),
      );
    },
  };
}
