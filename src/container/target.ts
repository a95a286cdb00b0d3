import { CridError } from "../base/errors.ts";
import { type ContainerContext, getEntry } from "./context.ts";
import { stateName } from "./status.ts";

/**
 * The process of the container whose pid namespace an ephemeral container joins (mode TARGET).
 *
 * @throws invalid-argument, not-found, failed-precondition
 */
export function targetPid(context: Pick<ContainerContext, "entries">, sandboxId: string, targetId: string): number {
  if (targetId === "") throw new CridError("invalid-argument", "namespace_options.target_id: is empty in pid mode TARGET");
  const target = getEntry(context, targetId);
  if (target.record.sandboxId !== sandboxId) {
    throw new CridError("invalid-argument", `invalid target container: container "${targetId}" does not belong to sandbox "${sandboxId}"`);
  }
  const pid = target.record.status.process?.pid;
  if (target.state !== "running" || pid === undefined) {
    throw new CridError(
      "failed-precondition",
      `invalid target container: container "${targetId}" is not running - in state ${stateName(target.state)}`,
    );
  }
  return pid;
}
