import type { BlobExtent } from "./growing-blob.ts";

/**
 * Where a layer is unpacked to, and in which form: a tree that overlayfs takes as a lower directory (`path` exists, is empty, and
 * nobody else touches it), or one EROFS image with that tree (`path` does not exist).
 */
export interface UnpackTarget {
  kind: "directory" | "erofs";
  path: string;
}

/** Bounds on what one layer may unpack to; a layer over a bound is refused. */
export interface UnpackLimits {
  /** Bytes of the uncompressed tar. */
  maxBytes: number;
  /** Tar entries; files and directories, those that names only imply among them, twice as many. */
  maxEntries: number;
}

export const defaultUnpackLimits: UnpackLimits = { maxBytes: 64 * 1024 ** 3, maxEntries: 1_000_000 };

/** One layer to unpack. */
export interface UnpackJob {
  /** The layer's blob on disk: tar, tar+gzip or tar+zstd, told apart by its first bytes. */
  file: string;
  /** Its size, once it is whole: small ones are not worth a process of their own. */
  blobBytes: number;
  /** How much of it is there, if it is still being downloaded. */
  extent?: BlobExtent;
  target: UnpackTarget;
  /** `sha256:<hex>` of the uncompressed tar, from the image's config; another digest refuses the layer. */
  expectedDiffId: string;
  limits: UnpackLimits;
}

/** What an unpacked layer is, and what must be done once the layers below it are known. */
export interface UnpackResult {
  /** Bytes of the uncompressed tar. */
  tarBytes: number;
  /** Bytes of file data, and number of files and directories, that were written. */
  bytes: number;
  inodes: number;
  /**
   * Milliseconds spent: reading and inflating what is there, without waiting for more of the blob to come; hashing and writing; then completing and
   * syncing. Layers of one thread take turns, which counts as inflating.
   */
  inflateMs: number;
  writeMs: number;
  syncMs: number;
  fixups: LayerFixups;
}

/**
 * Layers are unpacked side by side, each without sight of the ones below. What depends on those is put right when the layer
 * is committed, which happens in order. Paths are relative to the layer's root, one character a byte ("latin1").
 */
export interface LayerFixups {
  /** Directories that the tar only implied: they take mode, owner and times of the same directory below. "" is the root. */
  impliedDirectories: string[];
  /** Hard links to a file that this layer doesn't hold: they become copies of the file below. */
  foreignLinks: { path: string; target: string }[];
}
