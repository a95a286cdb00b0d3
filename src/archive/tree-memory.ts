import { malformed } from "./tar-header.ts";

/** For the trees of all layers that become EROFS images on this thread: its heap takes 512 MiB (unpack-thread.ts), and more than the names lies in it. */
const threadBytes = 384 * 1024 * 1024;
/** For the names that one layer as a directory has to be remembered by: as a rule a megabyte or two. */
const namesBytes = 192 * 1024 * 1024;

let usedOnThread = 0;

/**
 * What the tree of a layer takes of memory, as an estimate. A tar of 64 GiB that compresses to nearly nothing may describe one of tens of gigabytes,
 * in buffers that no limit of the heap counts.
 */
export class TreeMemory {
  readonly #onFull: () => Error;
  #used = 0;

  /** @param onFull what to throw when there is no room */
  constructor(onFull: () => Error) {
    this.#onFull = onFull;
  }

  /** @throws what `onFull` answers when the trees of this thread have taken all there is */
  take(bytes: number): void {
    this.#used += bytes;
    usedOnThread += bytes;
    if (usedOnThread > threadBytes) throw this.#onFull();
  }

  /** Gives all of it back. Idempotent. */
  free(): void {
    usedOnThread -= this.#used;
    this.#used = 0;
  }
}

/** What is kept of a layer that is unpacked into a directory, the directories and links that its end needs, or of an archive of images. */
export class NameMemory {
  #used = 0;

  /** @throws invalid-argument when it is more than any layer needs */
  take(name: string): void {
    this.#used += name.length + 100;
    if (this.#used > namesBytes) throw malformed(`names of more than ${namesBytes} bytes together`);
  }
}

/**
 * How many files and directories a layer may have: as many as entries, and as many again of directories that only names imply, of which an entry
 * may bring two thousand.
 */
export class InodeLimit {
  readonly #most: number;

  constructor(maxEntries: number) {
    this.#most = 2 * maxEntries;
  }

  /** @throws invalid-argument */
  check(inodes: number): void {
    if (inodes > this.#most) throw malformed(`more than ${this.#most} files and directories (twice image.maxLayerEntries)`);
  }
}
