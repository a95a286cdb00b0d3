import type { Logger } from "../base/log.ts";
import type { PodShims, SandboxSettings } from "../sandbox/deps.ts";
import type { Sandboxes } from "../sandbox/sandboxes.ts";
import type { Store } from "../store/store.ts";

export interface RecoveryDeps {
  store: Pick<Store, "sandboxes" | "containers" | "cniRetries" | "meta" | "transaction">;
  sandboxes: Sandboxes;
  containers: RecoveredContainers;
  shims: PodShims;
  netns: { list(): Promise<string[]>; remove(id: string): Promise<void> };
  /** Frees all attachments but these. */
  cni: { gc(valid: readonly { containerId: string; ifName: string }[], o: { signal: AbortSignal }): Promise<void> };
  settings: SandboxSettings;
  /** `<root>/containers` */
  containersDir: string;
  /** Where the OCI runtime keeps its states: the runtime root and the namespace below it. */
  runtimeStateDir: string;
  /** Root file systems of containers and image volumes. */
  snapshots?: { keys(): string[]; remove(key: string): Promise<void> };
  logger?: { list(): Promise<string[]>; close(id: string): Promise<void> };
  log: Logger;
  /** For tests: a reboot is another one. */
  bootId?: string;
}

/** The containers' part. */
export interface RecoveredContainers {
  /** Follows the running ones again, ends those whose shim is gone, undoes or finishes what was half made or half removed. */
  recover(sandboxId: string, o: { signal: AbortSignal }): Promise<void>;
}
