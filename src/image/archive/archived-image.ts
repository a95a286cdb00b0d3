import type { Descriptor } from "../../registry/descriptor.ts";
import type { Manifest } from "../manifest.ts";

/** Far above any real one; they are parsed on the event loop. */
export const maxArchiveJsonBytes = 4 * 1024 * 1024;

/** An image as an archive has it, read down to the manifest of the platform that is wanted. */
export interface ArchivedImage {
  /** Full references with a tag. */
  tags: string[];
  /** A tag without a repository, as umoci and skopeo write it into a layout; it needs a name from outside. */
  plainTag?: string;
  /**
   * What the archive calls it: index or manifest. Undefined when the archive has no manifest (docker's own format) and ours is made up:
   * no registry has that digest.
   */
  rootDigest?: string;
  /** The index, if any, and the manifest. */
  documents: { descriptor: Descriptor; body: Buffer }[];
  manifestDigest: string;
  manifest: Manifest;
  /** What else of it is kept: all of its other platforms, when they are wanted. */
  others: Descriptor[];
}
