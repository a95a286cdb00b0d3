import { CridError } from "../base/errors.ts";
import type { ContainerContext } from "./context.ts";
import type { ContainerEntry } from "./entry.ts";

/** The kubelet has moved the log file away; the logger goes on in a new one at the old path. @throws failed-precondition (not running) */
export async function reopenLog(context: ContainerContext, entry: ContainerEntry, options: { signal: AbortSignal }): Promise<void> {
  if (entry.state !== "running")
    throw new CridError("failed-precondition", `reopen log of container ${entry.id}: container is not running`);
  if (entry.record.logPath === "") return;
  await context.logger.reopen(entry.id, entry.record.logPath, options);
}
