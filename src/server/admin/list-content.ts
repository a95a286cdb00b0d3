import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";

const pageSize = 500;

/** All whole blobs, with the images that have them. */
export function listContent({ images, content }: Pick<AdminServices, "images" | "content">): AdminHandlers["ListContent"] {
  return async function* (_, { signal }) {
    const owners = new Map<string, string[]>();
    for (const { id, manifestDigest, blobs = [id, manifestDigest] } of images.list())
      for (const digest of blobs) owners.set(digest, [...(owners.get(digest) ?? []), id]);
    let page = [];
    for await (const { digest, size, modifiedMs } of content.list()) {
      signal.throwIfAborted();
      page.push({ digest, size: BigInt(size), modifiedAtMs: BigInt(Math.round(modifiedMs)), imageIds: owners.get(digest) ?? [] });
      if (page.length < pageSize) continue;
      yield { blobs: page };
      page = [];
    }
    if (page.length > 0) yield { blobs: page };
  };
}
