import { blockSize, encodeXattrs, inodeSize, slotSize, splitDirectory } from "./format.ts";
import { mode } from "./inode-table.ts";
import type { ErofsTree } from "./tree.ts";

/** How many partly filled blocks are remembered to find room for the next inode. */
const openBlocks = 32;
/** The address of an inode without data blocks. */
const noBlock = 0xffffffff;
const end = 0xffffffff;

/**
 * Metadata blocks, filled so that no inode crosses one with what belongs to it, unless it is larger than a block. Writes into the inode table what is
 * known then: slots, layouts, links, and sizes of directories and symlinks.
 */
export class Placement {
  readonly #tree: ErofsTree;
  /** The first inode in each block; a large inode's further blocks have none. */
  readonly #first: number[] = [];
  /** The inode behind each in its block. */
  readonly #next: Uint32Array;
  readonly #parents: Uint32Array;
  #open: { index: number; left: number }[] = [];
  /** Inodes that are placed: those that still have a name. */
  count = 0;
  /** Directories and symlinks with more than stands behind their inode. */
  readonly spilled: number[] = [];

  /** Places the tree, the root first: the superblock has only 16 bits for its number. */
  constructor(tree: ErofsTree) {
    this.#tree = tree;
    const { inodes, root } = tree;
    this.#next = new Uint32Array(inodes.count).fill(end);
    this.#parents = new Uint32Array(inodes.count);
    this.#parents[root] = root;
    const pending: number[] = [root];
    this.#place(root, 2);
    for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
      for (const child of tree.children(directory).values()) {
        const isDirectory = tree.isDirectory(child);
        if (inodes.nid(child) !== undefined) inodes.setLinks(child, inodes.links(child) + 1);
        else this.#place(child, isDirectory ? 2 : 1);
        if (!isDirectory) continue;
        pending.push(child);
        this.#parents[child] = directory;
        inodes.setLinks(directory, inodes.links(directory) + 1);
      }
    }
  }

  get blocks(): number {
    return this.#first.length;
  }

  /** The inodes that start in a block. */
  *inBlock(index: number): Generator<number> {
    for (let inode = this.#first[index] ?? end; inode !== end; inode = this.#next[inode] ?? end) yield inode;
  }

  /** The number of an inode. */
  nid(inode: number): number {
    return this.#tree.inodes.nid(inode) ?? 0;
  }

  /** The directory that a directory is in; the root's is itself. */
  parent(directory: number): number {
    return this.#parents[directory] ?? this.#tree.root;
  }

  #place(inode: number, links: number): void {
    const { inodes } = this.#tree;
    const xattrBytes = xattrsLength(this.#tree, inode);
    const { size, tail } = this.#dataOf(inode);
    const inline = inodeSize + xattrBytes + tail <= blockSize ? tail : 0;
    inodes.setSize(inode, size);
    inodes.setLinks(inode, links);
    inodes.setFormat(inode, { inline: inline > 0, xattrBytes });
    const isDevice = inodes.isType(inode, mode.char) || inodes.isType(inode, mode.block);
    if (!isDevice && size === inline) inodes.setAddress(inode, noBlock);
    if (size > inline && !inodes.isType(inode, mode.file)) this.spilled.push(inode);
    inodes.setNid(inode, this.#allocate(inodeSize + xattrBytes + inline, inode) / slotSize);
    this.count++;
  }

  /** Finds room. @returns the byte offset in the metadata area */
  #allocate(bytes: number, inode: number): number {
    const need = Math.ceil(bytes / slotSize) * slotSize;
    // The fullest block that still has room, so that the emptier ones stay for larger inodes.
    let best: { index: number; left: number } | undefined;
    for (const open of this.#open) if (open.left >= need && (best === undefined || open.left < best.left)) best = open;
    if (best === undefined) {
      best = { index: this.#first.length, left: Math.ceil(need / blockSize) * blockSize };
      for (let left = best.left; left > 0; left -= blockSize) this.#first.push(end);
      if (need <= blockSize) this.#open.push(best);
      if (this.#open.length > openBlocks) this.#open = this.#open.toSorted((a, b) => b.left - a.left).slice(0, openBlocks / 2);
    }
    const size = need <= blockSize ? blockSize : Math.ceil(need / blockSize) * blockSize;
    const offset = best.index * blockSize + (size - best.left);
    best.left -= need;
    this.#next[inode] = this.#first[best.index] ?? end;
    this.#first[best.index] = inode;
    return offset;
  }

  /** Bytes of an inode's data, and how many of them may stand behind it. */
  #dataOf(inode: number): { size: number; tail: number } {
    const { inodes } = this.#tree;
    if (this.#tree.isDirectory(inode)) {
      const blocks = splitDirectory(sortedNames(this.#tree, inode).map((name) => name.length));
      const tail = blocks.at(-1)?.bytes ?? 0;
      return { size: (blocks.length - 1) * blockSize + tail, tail };
    }
    if (inodes.isType(inode, mode.symlink)) {
      const { length } = this.#tree.target(inode);
      return { size: length, tail: length };
    }
    const size = inodes.size(inode);
    return { size, tail: inodes.spoolOffset(inode) >= 0 ? size % blockSize : 0 };
  }
}

/** The names of a directory as they stand on disk: "." and ".." among the others, in the order of their bytes. */
export function sortedNames(tree: ErofsTree, directory: number): string[] {
  return [".", "..", ...tree.children(directory).keys()].sort();
}

/** Bytes of an inode's xattrs on disk. */
export function xattrsLength(tree: ErofsTree, inode: number): number {
  const xattrs = tree.xattrs(inode);
  return xattrs.size === 0 ? 0 : encodeXattrs(xattrs).length;
}
