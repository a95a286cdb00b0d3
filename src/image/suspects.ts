import type { ImageFault } from "./check.ts";

/**
 * Blobs and layers that a look at the disk has found damaged. They stay where they are, as somebody may run on them; the next pull of any
 * image that has one looks again and brings it anew.
 */
export class Suspects {
  readonly #blobs = new Set<string>();
  readonly #layers = new Set<string>();

  add(faults: readonly Pick<ImageFault, "kind" | "name">[]): void {
    for (const { kind, name } of faults) {
      if (kind === "blob-damaged") this.#blobs.add(name);
      if (kind === "layer-damaged") this.#layers.add(name);
    }
  }

  hasBlob(digest: string): boolean {
    return this.#blobs.has(digest);
  }

  hasLayer(chainId: string): boolean {
    return this.#layers.has(chainId);
  }

  /** Looked at again: it is mended, or gone. */
  clearBlob(digest: string): void {
    this.#blobs.delete(digest);
  }

  clearLayer(chainId: string): void {
    this.#layers.delete(chainId);
  }
}
