import type { ContainerEntry } from "./entry.ts";
import type { ContainerState } from "./status.ts";

/** All given fields must match. */
export interface ContainerFilter {
  /** A full id or a unique prefix of one. */
  id?: string;
  state?: ContainerState;
  /** A pod's id, or a unique prefix of one. */
  sandboxId?: string;
  labels?: Readonly<Record<string, string>>;
}

export function matches(entry: ContainerEntry, filter: ContainerFilter): boolean {
  const { record } = entry;
  return (
    (filter.id === undefined || record.id.startsWith(filter.id)) &&
    (filter.sandboxId === undefined || record.sandboxId.startsWith(filter.sandboxId)) &&
    (filter.state === undefined || entry.state === filter.state) &&
    Object.entries(filter.labels ?? {}).every(([key, value]) => record.config.labels[key] === value)
  );
}
