import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { CridError } from "../../base/errors.ts";
import {
  blockSize,
  type DiskInode,
  decodeDirectoryBlock,
  decodeInode,
  decodeSuperblock,
  decodeXattrs,
  encodeInode,
  inodeSize,
  slotSize,
  superOffset,
} from "./format.ts";
import { mode } from "./inode-table.ts";

/** A file of an image, as `lookup` finds it. */
export interface ImageFile {
  nid: number;
  inode: DiskInode;
  xattrs: Map<string, Buffer>;
}

/**
 * Looks files up in an image that ErofsSink wrote, without mounting it, and changes attributes of an inode in place. A few
 * kilobytes are read for a path; synchronous.
 */
export class ErofsImage implements Disposable {
  readonly #fd: number;
  readonly #path: string;
  /** Size of the file. */
  readonly bytes: number;
  readonly #rootNid: number;
  readonly #metaOffset: number;
  /** Blocks of the image, as its superblock says. */
  readonly blocks: number;

  /** @throws data-loss when the file is no EROFS of ours */
  constructor(path: string, options: { writable?: boolean } = {}) {
    this.#path = path;
    this.#fd = openSync(
      path,
      (options.writable === true ? constants.O_RDWR : constants.O_RDONLY) | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
    try {
      const stat = fstatSync(this.#fd);
      if (!stat.isFile()) throw this.#damaged("it is not a file");
      this.bytes = stat.size;
      const superblock = decodeSuperblock(this.#read(superOffset, 128));
      if (superblock === undefined) throw this.#damaged("it has no EROFS superblock");
      this.#rootNid = superblock.rootNid;
      this.blocks = superblock.blocks;
      this.#metaOffset = superblock.metaBlock * blockSize;
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  /**
   * The root for an empty list of parts; undefined when something on the way is missing. Links are not followed.
   * @throws data-loss when what is on the way is damaged, as all reading does
   */
  lookup(parts: readonly string[]): ImageFile | undefined {
    let nid = this.#rootNid;
    for (const part of parts) {
      const { inode } = this.file(nid);
      const next = (inode.mode & 0o170000) === mode.directory ? this.#find(nid, inode, part) : undefined;
      if (next === undefined) return undefined;
      nid = next;
    }
    return this.file(nid);
  }

  file(nid: number): ImageFile {
    const at = this.#metaOffset + nid * slotSize;
    const inode = decodeInode(this.#read(at, inodeSize), 0);
    const xattrs = inode.xattrBytes === 0 ? new Map<string, Buffer>() : decodeXattrs(this.#read(at + inodeSize, inode.xattrBytes));
    return { nid, inode, xattrs };
  }

  /** Rewrites owner, permission bits and times of a file. The caller syncs. */
  setAttributes(file: ImageFile, like: { mode: number; uid: number; gid: number; mtime: DiskInode["mtime"] }): void {
    const encoded = Buffer.alloc(inodeSize);
    const inode = {
      ...file.inode,
      mode: (file.inode.mode & 0o170000) | (like.mode & 0o7777),
      uid: like.uid,
      gid: like.gid,
      mtime: like.mtime,
    };
    encodeInode(inode, file.nid, encoded, 0);
    writeSync(this.#fd, encoded, 0, inodeSize, this.#metaOffset + file.nid * slotSize);
  }

  #find(nid: number, inode: DiskInode, name: string): number | undefined {
    const tail = inode.layout === "inline" ? inode.size % blockSize || blockSize : 0;
    const whole = inode.size - tail;
    for (let at = 0; at < whole; at += blockSize) {
      const block = this.#read(inode.address * blockSize + at, Math.min(blockSize, whole - at));
      const found = this.#entry(block, name);
      if (found !== undefined) return found.nid;
    }
    if (tail === 0) return undefined;
    const block = this.#read(this.#metaOffset + nid * slotSize + inodeSize + inode.xattrBytes, tail);
    return this.#entry(block, name)?.nid;
  }

  #entry(block: Buffer, name: string): { nid: number } | undefined {
    const entries = decodeDirectoryBlock(block);
    if (entries === undefined) throw this.#damaged("a directory makes no sense");
    return entries.find((entry) => entry.name === name);
  }

  #read(position: number, length: number): Buffer {
    if (position + length > this.bytes) throw this.#damaged("it ends early");
    const buffer = Buffer.alloc(length);
    for (let done = 0; done < length; ) {
      const got = readSync(this.#fd, buffer, done, length - done, position + done);
      if (got === 0) throw this.#damaged("it ends early");
      done += got;
    }
    return buffer;
  }

  #damaged(why: string): CridError {
    return new CridError("data-loss", `${this.#path} is damaged: ${why}; remove the image and pull it again`);
  }
}
