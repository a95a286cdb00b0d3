import { CridError } from "../../base/errors.ts";
import type { ContainerView, Services } from "../services.ts";

/** The container, if it runs. @throws not-found, failed-precondition in the words the field's runtimes use */
export function runningContainer(containers: Services["containers"], id: string, step: string): ContainerView {
  const view = containers.get(id);
  if (view.state === "running") return view;
  const state = `CONTAINER_${view.state.toUpperCase()}`;
  throw new CridError(
    "failed-precondition",
    `${step} container ${view.record.id}: container is in ${state} state, must be CONTAINER_RUNNING`,
  );
}
