/**
 * The on-disk format of EROFS as far as layers need it: blocks of 4 KiB, uncompressed, extended inodes, xattrs in the inode.
 * Source: Linux, Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h (kernel 6.12).
 *
 * All numbers are little-endian. Inodes are addressed in slots of 32 bytes from the block `metaBlock`: an inode's number (nid)
 * is its slot.
 */
export const blockSize = 4096;
export const slotSize = 32;
export const inodeSize = 64;
export const superOffset = 1024;
/** The address of an inode without data blocks. */
export const noBlock = 0xffffffff;
const superMagic = 0xe0f5e1e2;
const direntSize = 12;

/** How a file's data lies: in whole blocks, or in whole blocks with the rest of it right behind the inode and its xattrs. */
export type Layout = "plain" | "inline";
const layoutBits: Record<Layout, number> = { plain: 0, inline: 2 };

/** File types in directory entries (the kernel's FT_*), by the format bits of a mode. */
const fileTypes = new Map<number, number>([
  [0o100000, 1],
  [0o040000, 2],
  [0o020000, 3],
  [0o060000, 4],
  [0o010000, 5],
  [0o140000, 6],
  [0o120000, 7],
]);

export interface Superblock {
  rootNid: number;
  inodes: number;
  blocks: number;
  metaBlock: number;
  uuid: Buffer;
}

export function encodeSuperblock({ rootNid, inodes, blocks, metaBlock, uuid }: Superblock): Buffer {
  const block = Buffer.alloc(128);
  block.writeUInt32LE(superMagic, 0);
  block.writeUInt8(12, 12);
  block.writeUInt16LE(rootNid, 14);
  block.writeBigUInt64LE(BigInt(inodes), 16);
  block.writeUInt32LE(blocks, 36);
  block.writeUInt32LE(metaBlock, 40);
  uuid.copy(block, 48, 0, 16);
  return block;
}

/** undefined when it is no EROFS of ours. */
export function decodeSuperblock(block: Buffer): Superblock | undefined {
  if (block.length < 128 || block.readUInt32LE(0) !== superMagic || block.readUInt8(12) !== 12) return undefined;
  return {
    rootNid: block.readUInt16LE(14),
    inodes: Number(block.readBigUInt64LE(16)),
    blocks: block.readUInt32LE(36),
    metaBlock: block.readUInt32LE(40),
    uuid: Buffer.from(block.subarray(48, 64)),
  };
}

/** An extended inode, without what follows it. */
export interface DiskInode {
  layout: Layout;
  /** Bytes of xattrs that follow the inode; a multiple of 4. */
  xattrBytes: number;
  /** Type and permission bits. */
  mode: number;
  size: number;
  /** First data block, or the device number of a device. */
  address: number;
  uid: number;
  gid: number;
  mtime: { seconds: number; nanos: number };
  links: number;
}

/** A safe integer, without a BigInt for each file. */
function writeInt64(into: Buffer, value: number, at: number): void {
  into.writeUInt32LE(value >>> 0, at);
  into.writeInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

/** Where an inode's number of links stands in it. */
export const linksOffset = 44;

/** @param serial a number for i_ino, which the kernel ignores on 64-bit machines */
export function encodeInode(inode: DiskInode, serial: number, into: Buffer, at: number): void {
  into.writeUInt16LE(1 | (layoutBits[inode.layout] << 1), at);
  into.writeUInt16LE(inode.xattrBytes === 0 ? 0 : (inode.xattrBytes - 12) / 4 + 1, at + 2);
  into.writeUInt16LE(inode.mode, at + 4);
  writeInt64(into, inode.size, at + 8);
  into.writeUInt32LE(inode.address >>> 0, at + 16);
  into.writeUInt32LE(serial >>> 0, at + 20);
  into.writeUInt32LE(inode.uid >>> 0, at + 24);
  into.writeUInt32LE(inode.gid >>> 0, at + 28);
  writeInt64(into, inode.mtime.seconds, at + 32);
  into.writeUInt32LE(inode.mtime.nanos, at + 40);
  into.writeUInt32LE(inode.links, at + linksOffset);
}

export function decodeInode(from: Buffer, at: number): DiskInode {
  const xattrSlots = from.readUInt16LE(at + 2);
  return {
    layout: ((from.readUInt16LE(at) >> 1) & 7) === layoutBits.inline ? "inline" : "plain",
    xattrBytes: xattrSlots === 0 ? 0 : 12 + (xattrSlots - 1) * 4,
    mode: from.readUInt16LE(at + 4),
    size: Number(from.readBigUInt64LE(at + 8)),
    address: from.readUInt32LE(at + 16),
    uid: from.readUInt32LE(at + 24),
    gid: from.readUInt32LE(at + 28),
    mtime: { seconds: Number(from.readBigInt64LE(at + 32)), nanos: from.readUInt32LE(at + 40) },
    links: from.readUInt32LE(at + linksOffset),
  };
}

/** The kernel's new_encode_dev. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/** Prefixes that have a number of their own; what begins otherwise cannot be stored. Whole names stand for themselves. */
const xattrPrefixes: [prefix: string, index: number][] = [
  ["system.posix_acl_access", 2],
  ["system.posix_acl_default", 3],
  ["user.", 1],
  ["trusted.", 4],
  ["security.", 6],
];

const nothing = Buffer.alloc(0);

/** The xattr body of an inode: its header and entries, padded to 4 bytes; empty for none. What EROFS cannot hold is left out. */
export function encodeXattrs(xattrs: ReadonlyMap<string, Buffer>): Buffer {
  if (xattrs.size === 0) return nothing;
  const parts: Buffer[] = [Buffer.alloc(12)];
  for (const [name, value] of xattrs) {
    const prefix = xattrPrefixes.find(([text]) => name.startsWith(text));
    if (prefix === undefined) continue;
    const rest = Buffer.from(name.slice(prefix[0].length), "latin1");
    if (rest.length > 255 || value.length > 65535) continue;
    const head = Buffer.alloc(4);
    head.writeUInt8(rest.length, 0);
    head.writeUInt8(prefix[1], 1);
    head.writeUInt16LE(value.length, 2);
    parts.push(head, rest, value, Buffer.alloc(-(rest.length + value.length) & 3));
  }
  return parts.length === 1 ? nothing : Buffer.concat(parts);
}

export function decodeXattrs(body: Buffer): Map<string, Buffer> {
  const xattrs = new Map<string, Buffer>();
  for (let at = 12; at + 4 <= body.length; ) {
    const nameLength = body.readUInt8(at);
    const index = body.readUInt8(at + 1);
    const valueLength = body.readUInt16LE(at + 2);
    const prefix = xattrPrefixes.find(([, number]) => number === index)?.[0] ?? "";
    const value = at + 4 + nameLength;
    xattrs.set(prefix + body.toString("latin1", at + 4, value), Buffer.from(body.subarray(value, value + valueLength)));
    at = value + valueLength + (-(nameLength + valueLength) & 3);
  }
  return xattrs;
}

export interface DirectoryEntry {
  /** One character a byte. */
  name: string;
  nid: number;
  mode: number;
}

/** Cuts sorted entries into directory blocks: how many go into each, and the bytes of each. */
export function splitDirectory(names: readonly string[]): { count: number; bytes: number }[] {
  const blocks: { count: number; bytes: number }[] = [];
  let count = 0;
  let bytes = 0;
  for (const { length } of names) {
    if (bytes + direntSize + length > blockSize) {
      blocks.push({ count, bytes });
      count = bytes = 0;
    }
    count++;
    bytes += direntSize + length;
  }
  blocks.push({ count, bytes });
  return blocks;
}

/** The bytes of a directory as many as splitDirectory says: whole blocks, the last one cut after its last name. */
export function encodeDirectory(entries: readonly DirectoryEntry[]): Buffer {
  const blocks = splitDirectory(entries.map(({ name }) => name));
  const last = blocks.at(-1)?.bytes ?? 0;
  const data = Buffer.alloc((blocks.length - 1) * blockSize + last);
  let next = 0;
  blocks.forEach(({ count }, index) => {
    const start = index * blockSize;
    let nameAt = count * direntSize;
    for (const [position, { name, nid, mode }] of entries.slice(next, next + count).entries()) {
      const at = start + position * direntSize;
      writeInt64(data, nid, at);
      data.writeUInt16LE(nameAt, at + 8);
      data.writeUInt8(fileTypes.get(mode & 0o170000) ?? 0, at + 10);
      data.write(name, start + nameAt, "latin1");
      nameAt += name.length;
    }
    next += count;
  });
  return data;
}

/** @param data one block of a directory, or the part of it that is used · @returns undefined when it is damaged */
export function decodeDirectoryBlock(data: Buffer): { name: string; nid: number }[] | undefined {
  if (data.length < direntSize) return undefined;
  const names = data.readUInt16LE(8);
  const count = names / direntSize;
  if (!Number.isInteger(count) || count === 0 || names > data.length) return undefined;
  const entries: { name: string; nid: number }[] = [];
  for (let at = 0; at < names; at += direntSize) {
    const start = data.readUInt16LE(at + 8);
    const end = at + direntSize < names ? data.readUInt16LE(at + direntSize + 8) : data.length;
    if (start < names || end < start || end > data.length) return undefined;
    const name = data.toString("latin1", start, end);
    const zero = name.indexOf("\0");
    entries.push({ name: zero < 0 ? name : name.slice(0, zero), nid: Number(data.readBigUInt64LE(at)) });
  }
  return entries;
}
