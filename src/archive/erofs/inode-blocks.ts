import { blockSize, slotSize } from "./format.ts";

/** How many partly filled blocks wait for an inode that fits. */
const mostOpen = 16;

/** Where blocks go, one behind the other. */
export interface BlockTarget {
  /** Of the next byte; a whole number of blocks when a block of inodes comes. */
  readonly position: number;
  append(data: Buffer): void;
}

interface OpenBlock {
  /** One block, or as many as an inode takes that is larger. */
  data: Buffer;
  used: number;
  inodes: number[];
  /** Where each of them starts, in slots of the block. */
  slots: number[];
}

/**
 * Blocks of inodes, each with what stands right behind it: filled while the tar streams by, and written between the files' blocks as they are full, so
 * that an inode lies near its data. No inode crosses a block with what belongs to it, unless it is larger than a block.
 */
export class InodeBlocks {
  readonly #target: BlockTarget;
  readonly #onPlace: (inode: number, nid: number) => void;
  readonly #open: OpenBlock[] = [];
  readonly #spare: Buffer[] = [];

  /** @param onPlace hears of each inode's nid when its block is written */
  constructor(target: BlockTarget, onPlace: (inode: number, nid: number) => void) {
    this.#target = target;
    this.#onPlace = onPlace;
  }

  /** Room of so many zero bytes for an inode, until the next call. */
  take(inode: number, bytes: number): Buffer {
    const need = Math.ceil(bytes / slotSize) * slotSize;
    const block = this.#bestFor(need) ?? this.#add(need);
    const start = block.used;
    block.used += need;
    block.inodes.push(inode);
    block.slots.push(start / slotSize);
    return block.data.subarray(start, start + bytes);
  }

  /** Writes what is still open. */
  flush(): void {
    for (const block of this.#open.splice(0)) this.#write(block);
  }

  /** The fullest block that still has room, so that the emptier ones stay for larger inodes. */
  #bestFor(need: number): OpenBlock | undefined {
    let best: OpenBlock | undefined;
    let bestRoom = Number.POSITIVE_INFINITY;
    for (const block of this.#open) {
      const room = block.data.length - block.used;
      if (room < need || room >= bestRoom) continue;
      best = block;
      bestRoom = room;
    }
    return best;
  }

  #add(need: number): OpenBlock {
    if (this.#open.length === mostOpen) this.#writeFullest();
    const data =
      need > blockSize ? Buffer.alloc(Math.ceil(need / blockSize) * blockSize) : (this.#spare.pop()?.fill(0) ?? Buffer.alloc(blockSize));
    const block: OpenBlock = { data, used: 0, inodes: [], slots: [] };
    this.#open.push(block);
    return block;
  }

  #writeFullest(): void {
    const room = ({ data, used }: OpenBlock): number => data.length - used;
    const fullest = this.#open.reduce((best, block) => (room(block) < room(best) ? block : best));
    this.#open.splice(this.#open.indexOf(fullest), 1);
    this.#write(fullest);
  }

  #write({ data, inodes, slots }: OpenBlock): void {
    const first = this.#target.position / slotSize;
    for (const [index, inode] of inodes.entries()) this.#onPlace(inode, first + (slots[index] ?? 0));
    this.#target.append(data);
    if (data.length === blockSize) this.#spare.push(data);
  }
}
