import type { Pod } from "./pod.ts";
import { type SandboxFilter, type SandboxView, viewOf } from "./status.ts";

/** The pods that fit the filter, oldest first. */
export function listPods(pods: Iterable<Pod>, filter: SandboxFilter): SandboxView[] {
  const views: SandboxView[] = [];
  for (const pod of pods) {
    if (pod.record.state === "creating") continue;
    const view = viewOf(pod.record);
    if (fits(view, filter)) views.push(view);
  }
  return views;
}

function fits(view: SandboxView, filter: SandboxFilter): boolean {
  if (filter.id !== undefined && filter.id !== "" && !view.id.startsWith(filter.id)) return false;
  if (filter.state !== undefined && view.state !== filter.state) return false;
  return Object.entries(filter.labels ?? {}).every(
    ([key, value]) => Object.hasOwn(view.config.labels, key) && view.config.labels[key] === value,
  );
}
