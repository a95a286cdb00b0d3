import type { Summer } from "../archive/summer.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";

/** What is wrong with an image on disk. */
export interface ImageFault {
  imageId: string;
  repoTags: string[];
  kind: "blob-missing" | "blob-damaged" | "layer-missing" | "layer-damaged";
  /** Digest of the blob, or chain id of the layer. */
  name: string;
  /** More, for people; "" = the kind says it all. */
  detail: string;
}

/** How far a check is. */
export interface CheckProgress {
  /** Blobs and layers. */
  done: number;
  total: number;
}

export interface CheckDeps {
  content: Pick<ContentStore, "stat" | "verify">;
  snapshotter: Pick<Snapshotter, "hasLayer" | "verifyLayer">;
  summer: SumFiles;
}

/** Reads files for their sums, off the event loop. */
export type SumFiles = Pick<Summer, "sum">;

export type Finding = Pick<ImageFault, "kind" | "detail">;

/**
 * Reads every blob of the images and compares it with its digest, and every layer and compares it with its sum. Slow: it reads all, in a
 * thread of its own, so that the daemon goes on serving.
 */
export async function checkImages(
  images: readonly ImageRecord[],
  on: CheckDeps,
  o: { onProgress?: (progress: CheckProgress) => void; signal: AbortSignal },
): Promise<ImageFault[]> {
  const looks = new Map<string, () => Promise<Finding | undefined>>();
  for (const { blobs = [], chainIds } of images) {
    for (const digest of blobs) looks.set(digest, () => checkBlob(digest, on, o));
    for (const chainId of chainIds) looks.set(layerKey(chainId), () => checkLayer(chainId, on, o));
  }
  const findings = new Map<string, Finding>();
  let done = 0;
  for (const [key, look] of looks) {
    o.signal.throwIfAborted();
    const finding = await look();
    if (finding !== undefined) findings.set(key, finding);
    o.onProgress?.({ done: ++done, total: looks.size });
  }
  return images.flatMap(({ id: imageId, repoTags, blobs = [], chainIds }) => {
    const fault = (name: string, key: string): ImageFault[] => {
      const finding = findings.get(key);
      return finding === undefined ? [] : [{ imageId, repoTags, name, ...finding }];
    };
    return [...blobs.flatMap((digest) => fault(digest, digest)), ...chainIds.flatMap((chainId) => fault(chainId, layerKey(chainId)))];
  });
}

/** A layer may have the same digest as a blob: the lowest layer of an image whose blobs are not compressed. */
function layerKey(chainId: string): string {
  return `layer ${chainId}`;
}

export async function checkBlob(digest: string, on: CheckDeps, o: { signal: AbortSignal }): Promise<Finding | undefined> {
  if ((await on.content.stat(digest)) === undefined) return { kind: "blob-missing", detail: "" };
  if (await on.content.verify(digest, { summer: on.summer, ...o })) return undefined;
  return { kind: "blob-damaged", detail: "its content has another digest" };
}

export async function checkLayer(chainId: string, on: CheckDeps, o: { signal: AbortSignal }): Promise<Finding | undefined> {
  if (!on.snapshotter.hasLayer(chainId)) return { kind: "layer-missing", detail: "" };
  const why = await on.snapshotter.verifyLayer(chainId, on.summer, o);
  if (why === undefined) return undefined;
  return on.snapshotter.hasLayer(chainId) ? { kind: "layer-damaged", detail: why } : { kind: "layer-missing", detail: "" };
}
