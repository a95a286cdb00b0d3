import type { LayerUnpacker } from "../archive/layer-unpacker.ts";
import type { UnpackLimits } from "../archive/unpack-job.ts";
import type { Logger } from "../base/log.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { Registry } from "../registry/registry.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { ImageTable } from "./catalog.ts";
import type { CollectorMetrics } from "./collector.ts";
import type { Platform } from "./platform.ts";
import type { PullMetrics } from "./pull.ts";
import type { ScrubMetrics } from "./scrub.ts";
import type { UpkeepSettings } from "./upkeep.ts";
import type { VerifyImage } from "./verifier.ts";

export interface ImagesOptions {
  table: ImageTable;
  /** Runs several writes of the table as one. */
  transaction?: <T>(run: () => T) => T;
  /** Waits until the writes of the table survive a power cut. */
  syncTable?: () => Promise<void>;
  content: ContentStore;
  registry: Pick<Registry, "open">;
  snapshotter: Snapshotter;
  unpacker: Pick<LayerUnpacker, "unpack">;
  /** Where leases of pulls are kept; survives a reboot. */
  leasesDir: string;
  /** Where copies of the records are kept, for when the store is lost; survives a reboot. */
  recordsDir: string;
  /** Where image volumes are mounted; gone at reboot. */
  volumesDir: string;
  /** `image` of the configuration. */
  maxConcurrentDownloads: number;
  discardUnpackedLayers: boolean;
  pinned: readonly string[];
  unpackLimits?: UnpackLimits;
  platform?: Platform;
  verify?: VerifyImage;
  metrics?: PullMetrics & CollectorMetrics & ScrubMetrics;
  /** The list of a scrub that is not over; survives a reboot. */
  scrubFile: string;
  /** Bytes that a scrub reads in a second; 0 = as many as the disk gives. */
  scrubRate: number;
  /** Times of what the store does by itself; see `Upkeep`. */
  upkeep?: Partial<UpkeepSettings>;
  log: Logger;
}
