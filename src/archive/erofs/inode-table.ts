import type { TarEntry } from "../tar-entry.ts";
import { inodeSize } from "./format.ts";

/** Type bits of a mode. */
export const mode = { file: 0o100000, directory: 0o040000, symlink: 0o120000, char: 0o020000, block: 0o060000, fifo: 0o010000 } as const;
const typeMask = 0o170000;

const segmentShift = 12;
const perSegment = 1 << segmentShift;

/** Offsets of an extended inode (format.ts); the last 16 bytes are reserved on disk, and keep what is needed until then. */
const at = {
  format: 0,
  mode: 4,
  size: 8,
  address: 16,
  serial: 20,
  uid: 24,
  gid: 28,
  seconds: 32,
  nanos: 40,
  links: 44,
  spool: 48,
  nid: 56,
  flags: 60,
};
const onDisk = 48;
const implied = 1;
const unplaced = 0xffffffff;

/**
 * The inodes of a layer as they will stand on disk, by number, beside the heap of JavaScript: a layer may have a million of them, and as objects
 * each took four times the memory.
 */
export class InodeTable {
  readonly #segments: DataView<ArrayBuffer>[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** A new inode, of nobody, with no data. */
  add(bits: number): number {
    const inode = this.#count++;
    if (inode >>> segmentShift === this.#segments.length) this.#segments.push(new DataView(new ArrayBuffer(perSegment * inodeSize)));
    const view = this.#view(inode);
    const base = offsetOf(inode);
    view.setUint16(base + at.mode, bits, true);
    view.setFloat64(base + at.spool, -1, true);
    view.setUint32(base + at.nid, unplaced, true);
    return inode;
  }

  /** Mode, owner and time of a tar entry. */
  describe(inode: number, bits: number, { uid, gid, mtime }: Pick<TarEntry, "uid" | "gid" | "mtime">): void {
    const view = this.#view(inode);
    const base = offsetOf(inode);
    view.setUint16(base + at.mode, bits, true);
    view.setUint32(base + at.uid, uid, true);
    view.setUint32(base + at.gid, gid, true);
    view.setBigInt64(base + at.seconds, BigInt(mtime.seconds), true);
    view.setUint32(base + at.nanos, mtime.nanos, true);
  }

  mode(inode: number): number {
    return this.#view(inode).getUint16(offsetOf(inode) + at.mode, true);
  }

  isType(inode: number, type: number): boolean {
    return (this.mode(inode) & typeMask) === type;
  }

  size(inode: number): number {
    const view = this.#view(inode);
    const base = offsetOf(inode) + at.size;
    return view.getUint32(base, true) + view.getUint32(base + 4, true) * 2 ** 32;
  }

  setSize(inode: number, bytes: number): void {
    const view = this.#view(inode);
    const base = offsetOf(inode) + at.size;
    view.setUint32(base, bytes % 2 ** 32, true);
    view.setUint32(base + 4, Math.floor(bytes / 2 ** 32), true);
  }

  /** The first data block, or a device's number. */
  address(inode: number): number {
    return this.#view(inode).getUint32(offsetOf(inode) + at.address, true);
  }

  setAddress(inode: number, address: number): void {
    this.#view(inode).setUint32(offsetOf(inode) + at.address, address, true);
  }

  /** Where its last part lies in the spool, when that goes behind the inode; else -1. */
  spoolOffset(inode: number): number {
    return this.#view(inode).getFloat64(offsetOf(inode) + at.spool, true);
  }

  setSpoolOffset(inode: number, offset: number): void {
    this.#view(inode).setFloat64(offsetOf(inode) + at.spool, offset, true);
  }

  /** A directory that no entry of the tar described. */
  implied(inode: number): boolean {
    return (this.#view(inode).getUint32(offsetOf(inode) + at.flags, true) & implied) !== 0;
  }

  setImplied(inode: number, is: boolean): void {
    this.#view(inode).setUint32(offsetOf(inode) + at.flags, is ? implied : 0, true);
  }

  links(inode: number): number {
    return this.#view(inode).getUint32(offsetOf(inode) + at.links, true);
  }

  setLinks(inode: number, links: number): void {
    this.#view(inode).setUint32(offsetOf(inode) + at.links, links, true);
  }

  /** Its slot in the metadata area; undefined as long as it has none. */
  nid(inode: number): number | undefined {
    const nid = this.#view(inode).getUint32(offsetOf(inode) + at.nid, true);
    return nid === unplaced ? undefined : nid;
  }

  setNid(inode: number, nid: number): void {
    this.#view(inode).setUint32(offsetOf(inode) + at.nid, nid, true);
  }

  /** Whether the last part of its data stands behind it. */
  isInline(inode: number): boolean {
    return ((this.#view(inode).getUint16(offsetOf(inode) + at.format, true) >> 1) & 7) === 2;
  }

  setFormat(inode: number, o: { inline: boolean; xattrBytes: number }): void {
    const view = this.#view(inode);
    const base = offsetOf(inode) + at.format;
    view.setUint16(base, 1 | ((o.inline ? 2 : 0) << 1), true);
    view.setUint16(base + 2, o.xattrBytes === 0 ? 0 : 1 + (o.xattrBytes - 12) / 4, true);
  }

  /** Writes the inode as the kernel reads it. */
  copyTo(inode: number, into: Buffer, position: number): void {
    const { buffer } = this.#view(inode);
    const base = offsetOf(inode);
    into.set(new Uint8Array(buffer, base, onDisk), position);
    into.fill(0, position + onDisk, position + inodeSize);
    into.writeUInt32LE(this.nid(inode) ?? 0, position + at.serial);
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
  return (inode & (perSegment - 1)) * inodeSize;
}
