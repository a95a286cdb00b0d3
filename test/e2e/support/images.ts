import { cridJson } from "./commands.ts";
import type { TestNode } from "./node.ts";

/** Small images, of several gzip layers and with zstd. */
export const layers = "docker.io/crid/layers:1";
export const zstd = "docker.io/crid/zstd:1";

/** An image as `crid images ls --json` has it. */
export interface ListedImage {
  id: string;
  tags: string[];
  digests: string[];
  manifestDigest: string;
}

/** By id or tag. */
export async function findImage(node: TestNode, ref: string): Promise<ListedImage | undefined> {
  const { images } = await cridJson<{ images: ListedImage[] }>(node, "images", "ls");
  return images.find(({ id, tags }) => id === ref || tags.includes(ref));
}
