import { blockSize, encodeXattrs, inodeSize, noBlock, slotSize, splitDirectory } from "./format.ts";
import { InodeBlocks } from "./inode-blocks.ts";
import type { ErofsTree } from "./tree.ts";

/** Where the root's inode lies: the block behind the superblock's, as that has only 16 bits for its number. */
export const rootNid = blockSize / slotSize;

/** A directory, and where it will lie. */
export interface PlacedDirectory {
  inode: number;
  /** The directory that it is in; the root's is itself. */
  parent: number;
  /** Subdirectories, and 2. */
  links: number;
  /** Names as they stand on disk: "." and ".." among the others, in the order of their bytes. */
  names: string[];
  /** Bytes of its entries, and how many of them stand right behind its inode. */
  size: number;
  inlineBytes: number;
  xattrs: Buffer;
  /** The first of its whole blocks. */
  address: number;
}

/**
 * The end of an image: whole blocks of directories' entries, then their inodes, each with the rest of its entries. All of them have their place before
 * any is written, as they name one another. Counts the names of files on the way.
 */
export class DirectoryLayout {
  readonly #tree: ErofsTree;
  /** The root first. */
  readonly directories: PlacedDirectory[] = [];
  /** Files with more than one name. */
  readonly linked = new Set<number>();
  /** All inodes that have a name. */
  inodes = 0;

  /** @param start the first free block */
  constructor(tree: ErofsTree, start: number) {
    this.#tree = tree;
    this.#walk();
    let block = start;
    for (const directory of this.directories) {
      const whole = wholeBlocks(directory);
      if (whole > 0) directory.address = block;
      block += whole;
    }
    // As they will be written, which gives each its number: the same inodes in the same order find the same places.
    let position = block * blockSize;
    const blocks = new InodeBlocks(
      {
        get position() {
          return position;
        },
        append: (data) => {
          position += data.length;
        },
      },
      (inode, nid) => tree.inodes.setNid(inode, nid),
    );
    for (const directory of this.directories.slice(1)) blocks.take(directory.inode, inodeLength(directory));
    blocks.flush();
    tree.inodes.setNid(tree.root, rootNid);
  }

  #walk(): void {
    const { inodes, root } = this.#tree;
    const pending = [{ inode: root, parent: root }];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      let links = 2;
      for (const child of this.#tree.children(next.inode).values()) {
        if (this.#tree.isDirectory(child)) {
          links++;
          pending.push({ inode: child, parent: next.inode });
          continue;
        }
        inodes.addLink(child);
        if (inodes.links(child) === 1) this.inodes++;
        else this.linked.add(child);
      }
      this.inodes++;
      this.directories.push(this.#describe(next, links));
    }
  }

  #describe(own: { inode: number; parent: number }, links: number): PlacedDirectory {
    const names = [".", "..", ...this.#tree.children(own.inode).keys()].sort();
    const xattrs = encodeXattrs(this.#tree.xattrs(own.inode));
    const blocks = splitDirectory(names);
    const last = blocks.at(-1)?.bytes ?? 0;
    const inlineBytes = inodeSize + xattrs.length + last <= blockSize ? last : 0;
    return { ...own, links, names, size: (blocks.length - 1) * blockSize + last, inlineBytes, xattrs, address: noBlock };
  }
}

/** Blocks of entries that do not stand behind the inode. */
export function wholeBlocks({ size, inlineBytes }: PlacedDirectory): number {
  return Math.ceil((size - inlineBytes) / blockSize);
}

/** Bytes of an inode with what stands behind it. */
export function inodeLength({ xattrs, inlineBytes }: PlacedDirectory): number {
  return inodeSize + xattrs.length + inlineBytes;
}
