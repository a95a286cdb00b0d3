import { isKind } from "../base/errors.ts";
import { mergeResources } from "./merge-resources.ts";
import { type ContainerEviction, type ContainerUpdate, emptyResources, type LinuxResources, v1 } from "./messages.ts";
import type { Owners } from "./owners.ts";

/** What the plugins ask to be changed of containers, and which to be ended, in one request. */
export class CollectedUpdates {
  readonly #updates = new Map<string, ContainerUpdate>();
  readonly #owners: Owners;
  readonly evictions: ContainerEviction[] = [];

  constructor(owners: Owners) {
    this.#owners = owners;
  }

  /** Of an UpdateContainer: what the kubelet asks for, which plugins may change. */
  begin(id: string, resources: LinuxResources): void {
    this.#updates.set(id, update(id, resources, false));
  }

  /** @throws failed-precondition when two plugins set the same of one container, unless the update may fail */
  add(updates: readonly ContainerUpdate[], evictions: readonly ContainerEviction[], plugin: string): void {
    for (const { containerId: id, linux, ignoreFailure } of updates) {
      const before = this.#updates.get(id);
      const base = before?.linux?.resources ?? emptyResources();
      try {
        const resources = linux?.resources ? mergeResources(base, linux.resources, { owners: this.#owners, id, plugin }) : base;
        this.#updates.set(id, update(id, resources, ignoreFailure && (before?.ignoreFailure ?? true)));
      } catch (error) {
        if (!ignoreFailure || !isKind(error, "failed-precondition")) throw error;
      }
    }
    this.evictions.push(...evictions);
  }

  /** The resources of the container that `begin` named. */
  of(id: string): LinuxResources {
    return this.#updates.get(id)?.linux?.resources ?? emptyResources();
  }

  /** Of other containers than `id`. */
  others(id: string): ContainerUpdate[] {
    return [...this.#updates.values()].filter(({ containerId }) => containerId !== id);
  }
}

function update(containerId: string, resources: LinuxResources, ignoreFailure: boolean): ContainerUpdate {
  const message = new v1.ContainerUpdate({ containerId, ignoreFailure });
  message.linux = new v1.LinuxContainerUpdate();
  message.linux.resources = resources;
  return message;
}
