/** Type bits of a mode. */
export const mode = { file: 0o100000, directory: 0o040000, symlink: 0o120000, char: 0o020000, block: 0o060000, fifo: 0o010000 } as const;
const typeMask = 0o170000;

const segmentShift = 14;
const perSegment = 1 << segmentShift;
const bytesEach = 16;

/** Offsets of what is known of an inode. */
const at = { nid: 0, links: 8, bits: 12 };
/** Beside the 16 bits of the mode. */
const whiteout = 1 << 16;

/**
 * What is known of each inode of a layer, by number, beside the heap of JavaScript: a layer may have a million of them. Their attributes are on disk
 * by then (erofs-sink.ts), but those of directories (tree.ts).
 */
export class InodeTable {
  readonly #segments: DataView<ArrayBuffer>[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** A new inode with the bits of its mode. */
  add(bits: number): number {
    const inode = this.#count++;
    if (inode >>> segmentShift === this.#segments.length) this.#segments.push(new DataView(new ArrayBuffer(perSegment * bytesEach)));
    this.setMode(inode, bits);
    return inode;
  }

  mode(inode: number): number {
    return this.#view(inode).getUint32(offsetOf(inode) + at.bits, true) & 0xffff;
  }

  setMode(inode: number, bits: number): void {
    this.#view(inode).setUint32(offsetOf(inode) + at.bits, bits, true);
  }

  isType(inode: number, type: number): boolean {
    return (this.mode(inode) & typeMask) === type;
  }

  /** A device that overlayfs takes for a whiteout. */
  isWhiteout(inode: number): boolean {
    return (this.#view(inode).getUint32(offsetOf(inode) + at.bits, true) & whiteout) !== 0;
  }

  setWhiteout(inode: number): void {
    this.setMode(inode, this.mode(inode) | whiteout);
  }

  /** How many names have been counted for it; 0 at first. */
  links(inode: number): number {
    return this.#view(inode).getUint32(offsetOf(inode) + at.links, true);
  }

  addLink(inode: number): void {
    this.#view(inode).setUint32(offsetOf(inode) + at.links, this.links(inode) + 1, true);
  }

  /** Its slot in the image, once it has one. */
  nid(inode: number): number {
    return this.#view(inode).getFloat64(offsetOf(inode) + at.nid, true);
  }

  setNid(inode: number, nid: number): void {
    this.#view(inode).setFloat64(offsetOf(inode) + at.nid, nid, true);
  }

  /** Gives the memory back at once. */
  free(): void {
    for (const { buffer } of this.#segments) buffer.transfer(0);
    this.#segments.length = 0;
    this.#count = 0;
  }

  #view(inode: number): DataView<ArrayBuffer> {
    const view = this.#segments[inode >>> segmentShift];
    if (view === undefined) throw new RangeError(`no inode ${inode}`);
    return view;
  }
}

function offsetOf(inode: number): number {
  return (inode & (perSegment - 1)) * bytesEach;
}
