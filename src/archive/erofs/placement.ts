import { blockSize, encodeXattrs, inodeSize, slotSize, splitDirectory } from "./format.ts";
import { mode, type Node } from "./tree.ts";

/** A node with its place in the metadata area. */
export interface Placed {
  node: Node;
  /** Byte offset in the metadata area; its slot is the inode's number. */
  offset: number;
  xattrs: Buffer;
  /** Bytes that stand right behind the inode and its xattrs; 0 = the data lies in blocks only. */
  inline: number;
  /** Bytes of data. */
  size: number;
  links: number;
  /** First data block; set when the data is written. */
  block: number;
}

/** How many partly filled blocks are remembered to find room for the next inode. */
const openBlocks = 32;

/** Metadata blocks, filled so that no inode crosses one with what belongs to it, unless it is larger than a block. */
export class Placement {
  readonly placed = new Map<Node, Placed>();
  /** What starts in each block, in order of the blocks; a large inode's further blocks are empty lists. */
  readonly blocks: Placed[][] = [];
  #open: { index: number; left: number }[] = [];

  /** Places the tree, the root first: the superblock has only 16 bits for its number. */
  constructor(root: Node) {
    const pending: Node[] = [root];
    this.#place(root, 2);
    for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
      for (const child of directory.children?.values() ?? []) {
        const known = this.placed.get(child);
        if (known !== undefined) known.links++;
        else this.#place(child, child.children === undefined ? 1 : 2);
        if (child.children !== undefined) {
          pending.push(child);
          const parent = this.placed.get(directory);
          if (parent !== undefined) parent.links++;
        }
      }
    }
  }

  /** The number of an inode. */
  nid(node: Node): number {
    return (this.placed.get(node)?.offset ?? 0) / slotSize;
  }

  #place(node: Node, links: number): void {
    const xattrs = encodeXattrs(node.xattrs);
    const { size, tail } = dataOf(node);
    const fits = inodeSize + xattrs.length + tail <= blockSize;
    const inline = fits ? tail : 0;
    const placed: Placed = { node, offset: 0, xattrs, inline, size, links, block: node.block };
    placed.offset = this.#allocate(inodeSize + xattrs.length + inline, placed);
    this.placed.set(node, placed);
  }

  #allocate(bytes: number, placed: Placed): number {
    const need = Math.ceil(bytes / slotSize) * slotSize;
    // The fullest block that still has room, so that the emptier ones stay for larger inodes.
    let best: { index: number; left: number } | undefined;
    for (const open of this.#open) if (open.left >= need && (best === undefined || open.left < best.left)) best = open;
    if (best === undefined) {
      best = { index: this.blocks.length, left: Math.ceil(need / blockSize) * blockSize };
      for (let left = best.left; left > 0; left -= blockSize) this.blocks.push([]);
      if (need <= blockSize) this.#open.push(best);
      if (this.#open.length > openBlocks) this.#open = this.#open.toSorted((a, b) => b.left - a.left).slice(0, openBlocks / 2);
    }
    const size = need <= blockSize ? blockSize : Math.ceil(need / blockSize) * blockSize;
    const offset = best.index * blockSize + (size - best.left);
    best.left -= need;
    this.blocks[best.index]?.push(placed);
    return offset;
  }
}

/** Bytes of a node's data, and how many of them may stand behind the inode. */
function dataOf(node: Node): { size: number; tail: number } {
  if (node.children !== undefined) {
    const blocks = splitDirectory(sortedNames(node).map((name) => name.length));
    const tail = blocks.at(-1)?.bytes ?? 0;
    return { size: (blocks.length - 1) * blockSize + tail, tail };
  }
  if ((node.mode & 0o170000) === mode.symlink) return { size: node.target.length, tail: node.target.length };
  return { size: node.size, tail: node.spoolOffset >= 0 ? node.size % blockSize : 0 };
}

/** The names of a directory as they stand on disk: "." and ".." among the others, in the order of their bytes. */
export function sortedNames(directory: Node): string[] {
  return [".", "..", ...(directory.children?.keys() ?? [])].sort();
}
