import { CridError } from "../base/errors.ts";
import type { ContainerRecord, ContainerStatusRecord } from "../records/container-record.ts";

/**
 * A container's state is never stored: it is derived from the times in its record.
 *
 *                 CreateContainer fails, or crash (creating = true): undone, the record goes
 *                        ^
 *                        |
 *   CreateContainer -> created --- StartContainer ---> running --- process ends ---> exited --- RemoveContainer ---> (gone)
 *                        |   \                          |   ^                          ^
 *                        |    \-- start fails: exited   |   | shim answers again       |
 *                        |        (128, StartError)     v   |                          |
 *                        |                            unknown --- shim given up: exited (137 or 255)
 *                        |
 *                        \--- RemoveContainer ---> (gone)
 *
 * created: startedAt and finishedAt are 0. running: startedAt is set. exited: finishedAt is set, whatever startedAt says.
 * unknown: running as far as the record says, but nobody who could tell was reachable since the daemon started.
 */
export type ContainerState = "created" | "running" | "exited" | "unknown";

/** Exit code and reason when the process never ran, as the field's runtimes report it. */
export const START_ERROR = { exitCode: 128, reason: "StartError" } as const;
/** Exit code and reason when nobody saw how the process ended. */
export const UNKNOWN_EXIT = { exitCode: 255, reason: "Unknown" } as const;

/**
 * @param unreachable nothing is known of the process since the daemon started: see `unknown` above
 */
export function stateOf(status: ContainerStatusRecord, unreachable = false): ContainerState {
  if (status.finishedAt !== 0n) return "exited";
  if (status.startedAt === 0n) return "created";
  return unreachable ? "unknown" : "running";
}

/** The CRI's name of a state, as error messages show it. */
export function stateName(state: ContainerState): string {
  return `CONTAINER_${state.toUpperCase()}`;
}

/** @throws failed-precondition, in the words the field's runtimes use */
export function expectState(record: ContainerRecord, state: ContainerState, wanted: ContainerState, step: string): void {
  if (state === wanted) return;
  throw new CridError(
    "failed-precondition",
    `${step} container ${record.id}: container is in ${stateName(state)} state, must be ${stateName(wanted)}`,
  );
}
