import type { CheckProgress, ImageFault } from "../../image/check.ts";
import type { HostMount } from "../../image/host-mounts.ts";
import type { ImportOptions } from "../../image/import.ts";
import type { Platform } from "../../image/platform.ts";
import type { PullReport } from "../../image/progress.ts";
import type { RebuildResult } from "../../image/rebuild.ts";
import type { Repair } from "../../image/repair.ts";
import type { ImageRecord } from "../../records/image-record.ts";
import type { Explanation } from "../../registry/explain.ts";
import type { RegistryAuth } from "../../registry/options.ts";

/*
 * What the admin RPCs need of the rest, said from this side. `compose/` hands in the real ones; a test hands in small ones.
 * Errors are CridErrors.
 */

export interface AdminImages {
  get(refOrId: string): ImageRecord | undefined;
  list(): ImageRecord[];
  pull(ref: string, o: { auth?: RegistryAuth; platform?: Platform; signal: AbortSignal }): Promise<ImageRecord>;
  pulls(): PullReport[];
  import(archive: AsyncIterable<Buffer>, o: ImportOptions): Promise<ImageRecord[]>;
  export(refs: readonly string[], o: { allPlatforms: boolean; signal: AbortSignal }): AsyncIterable<Buffer>;
  mount(refOrId: string): Promise<HostMount>;
  unmount(what: string): Promise<void>;
  hostMounts(): Promise<HostMount[]>;
  tag(refOrId: string, name: string): ImageRecord;
  untag(name: string): void;
  remove(refOrId: string, o: { signal: AbortSignal }): Promise<void>;
  check(o: { onProgress: (progress: CheckProgress) => void; signal: AbortSignal }): Promise<ImageFault[]>;
  repair(faults: readonly ImageFault[], o: { signal: AbortSignal }): AsyncIterable<Repair>;
  rebuild(o: { signal: AbortSignal }): Promise<RebuildResult>;
}

export interface AdminContent {
  list(): AsyncIterable<{ digest: string; size: number; modifiedMs: number }>;
  stat(digest: string): Promise<{ size: number } | undefined>;
  open(digest: string): AsyncIterable<Buffer>;
}

export interface AdminRegistry {
  explain(ref: string, o: { auth?: RegistryAuth; signal: AbortSignal }): Promise<Explanation>;
}

export interface AdminServices {
  images: AdminImages;
  content: AdminContent;
  registry: AdminRegistry;
}
