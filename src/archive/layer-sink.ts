import type { TarSink } from "./tar-reader.ts";
import type { LayerFixups } from "./unpack-job.ts";

/** What came of a layer. */
export interface SinkResult {
  /** Bytes and inodes on disk. */
  bytes: number;
  inodes: number;
  fixups: LayerFixups;
}

/** A form that a layer is unpacked into. Both forms pass the same tests. When it has finished, or was abandoned, it holds nothing any more. */
export interface LayerSink extends TarSink {
  /** The tar is over and its diff id is right: completes the layer. A directory is on disk then; an image file is written, and not synced. */
  finish(): Promise<SinkResult>;
  /** Unpacking failed: closes what is open. What was written is the caller's to remove. */
  abandon(): void;
}
