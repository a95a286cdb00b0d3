import type { ContentStore } from "../content/content-store.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";

/** What is wrong with an image on disk. */
export interface ImageFault {
  imageId: string;
  repoTags: string[];
  kind: "blob-missing" | "blob-damaged" | "layer-missing";
  /** Digest of the blob, or chain id of the layer. */
  name: string;
}

/** Reads every blob of the images and compares it with its digest, and looks whether every layer is there. Slow: it reads all. */
export async function checkImages(
  images: readonly ImageRecord[],
  on: { content: Pick<ContentStore, "stat" | "verify">; snapshotter: Pick<Snapshotter, "hasLayer"> },
  o: { signal: AbortSignal },
): Promise<ImageFault[]> {
  const faults: ImageFault[] = [];
  const checked = new Map<string, ImageFault["kind"] | undefined>();
  for (const { id: imageId, repoTags, blobs = [], chainIds } of images) {
    for (const name of blobs) {
      if (!checked.has(name)) checked.set(name, await checkBlob(name, on.content, o));
      const kind = checked.get(name);
      if (kind !== undefined) faults.push({ imageId, repoTags, kind, name });
    }
    for (const name of chainIds) {
      if (!on.snapshotter.hasLayer(name)) faults.push({ imageId, repoTags, kind: "layer-missing", name });
    }
  }
  return faults;
}

async function checkBlob(
  digest: string,
  content: Pick<ContentStore, "stat" | "verify">,
  o: { signal: AbortSignal },
): Promise<ImageFault["kind"] | undefined> {
  if ((await content.stat(digest)) === undefined) return "blob-missing";
  return (await content.verify(digest, o)) ? undefined : "blob-damaged";
}
