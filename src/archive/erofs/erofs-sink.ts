import { closeSync, openSync, writeSync } from "node:fs";
import { CridError } from "../../base/errors.ts";
import { cleanPath, splitPath, whiteoutOf } from "../layer-path.ts";
import type { LayerSink, SinkResult } from "../layer-sink.ts";
import type { TarEntry } from "../tar-entry.ts";
import { malformed } from "../tar-header.ts";
import { InodeLimit, NameMemory, TreeMemory } from "../tree-memory.ts";
import { storableXattrs } from "../xattr-rules.ts";
import { BlockWriter } from "./block-writer.ts";
import { DirectoryLayout, inodeLength, type PlacedDirectory, rootNid, wholeBlocks } from "./directory-layout.ts";
import {
  blockSize,
  encodeDevice,
  encodeDirectory,
  encodeInode,
  encodeSuperblock,
  encodeXattrs,
  inodeSize,
  linksOffset,
  noBlock,
  slotSize,
  superOffset,
} from "./format.ts";
import { InodeBlocks } from "./inode-blocks.ts";
import { mode } from "./inode-table.ts";
import { ErofsTree } from "./tree.ts";

const nothing = Buffer.alloc(0);

/** What ends an unpack into EROFS whose layer needs a directory: the caller unpacks it again as one. */
export class NeedsDirectory extends CridError {
  constructor(why: string) {
    super("failed-precondition", `this layer cannot be an EROFS image: ${why}`);
  }
}

/** An inode that is written when its entry comes. */
interface NewInode {
  type: number;
  size: number;
  /** Bytes of its data that stand behind it. */
  inlineBytes: number;
  /** A device's number. */
  device: number;
}

const plainInode = { size: 0, inlineBytes: 0, device: 0 };

/**
 * Writes a layer as one EROFS image while its tar streams by:
 *
 * ```
 * block 0      superblock
 * block 1      the root's inode
 * blocks       of files' data, in the tar's order, and between them of inodes, each with its xattrs and the last part of its data
 * blocks       of directories' entries, those that don't fit behind their inode
 * blocks       of directories' inodes, each with its xattrs and the last part of its entries
 * ```
 *
 * Directories come last, as only the end tells what is in them; so does the number of names of a file that has several.
 */
export class ErofsSink implements LayerSink {
  readonly #path: string;
  readonly #uuid: Buffer;
  readonly #tree: ErofsTree;
  readonly #fd: number;
  #open = true;
  readonly #image: BlockWriter;
  readonly #blocks: InodeBlocks;
  /** The file that is being written; its last part goes behind its inode. */
  #file: { start: number; wholeBytes: number; tail: Buffer } | undefined;

  /** @param path the image, which must not exist · @param uuid 16 bytes that the image is told apart by */
  constructor(path: string, uuid: Buffer, limits: { maxEntries: number }) {
    const memory = new TreeMemory(() => new NeedsDirectory("its names, links and attributes take more memory than there is for them"));
    this.#tree = new ErofsTree({ memory, limit: new InodeLimit(limits.maxEntries) });
    this.#path = path;
    this.#uuid = uuid;
    this.#fd = openSync(path, "wx", 0o600);
    this.#image = new BlockWriter(this.#fd, { start: rootNid * slotSize + blockSize });
    this.#blocks = new InodeBlocks(this.#image, (inode, nid) => this.#tree.inodes.setNid(inode, nid));
  }

  entry(entry: TarEntry): void {
    const path = cleanPath(entry.path);
    const { parent, base } = splitPath(path);
    const whiteout = whiteoutOf(base);
    switch (whiteout.kind) {
      case "ignored":
        return;
      case "opaque":
        return this.#tree.makeOpaque(this.#tree.directory(parent));
      case "remove":
        return this.#whiteout(this.#tree.directory(parent), whiteout.base);
      case "none":
        if (path !== "") return this.#make(entry, this.#tree.directory(parent), base);
        if (entry.type !== "directory") throw malformed("the root of the layer is not a directory");
        this.#describeDirectory(this.#tree.root, entry);
    }
  }

  data(chunk: Buffer, offset: number): void {
    const file = this.#file;
    if (file === undefined) return;
    const whole = Math.max(0, Math.min(chunk.length, file.wholeBytes - offset));
    if (whole > 0) {
      this.#image.skipTo(file.start + offset);
      this.#image.append(chunk.subarray(0, whole));
    }
    if (whole < chunk.length) chunk.copy(file.tail, offset + whole - file.wholeBytes, whole);
  }

  entryEnd(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    this.#image.skipTo(file.start + file.wholeBytes);
    this.#image.align();
  }

  /** Writes the rest. The image is one file: whoever gives it its name syncs it, beside what else he has to sync. */
  async finish(): Promise<SinkResult> {
    this.#blocks.flush();
    const layout = new DirectoryLayout(this.#tree, this.#image.position / blockSize);
    this.#writeDirectories(layout);
    const blocks = this.#image.position / blockSize;
    this.#image.flush();
    this.#writeLinks(layout);
    const superblock = encodeSuperblock({ rootNid, inodes: layout.inodes, blocks, metaBlock: 0, uuid: this.#uuid });
    writeSync(this.#fd, superblock, 0, superblock.length, superOffset);
    const result = {
      bytes: blocks * blockSize,
      inodes: layout.inodes,
      fixups: { impliedDirectories: impliedPaths(this.#tree), foreignLinks: [] },
    };
    this.#close();
    return result;
  }

  abandon(): void {
    this.#close();
  }

  #close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#fd);
    this.#image.close();
    this.#tree.free();
  }

  #make(entry: TarEntry, parent: number, base: string): void {
    const tree = this.#tree;
    switch (entry.type) {
      case "directory":
        return this.#describeDirectory(tree.makeDirectory(parent, base), entry);
      case "link": {
        const target = cleanPath(entry.linkName);
        if (target === "") throw malformed(`hard link ${JSON.stringify(entry.path)} to the root`);
        const inode = tree.locate(target);
        if (inode === undefined) throw new NeedsDirectory(`the hard link ${JSON.stringify(entry.path)} leads to a layer below`);
        if (tree.isDirectory(inode)) throw malformed(`hard link ${JSON.stringify(entry.path)} to a directory`);
        return tree.link(parent, base, inode);
      }
      case "file":
        return tree.link(parent, base, this.#beginFile(entry));
      case "symlink":
        return tree.link(parent, base, this.#writeSymlink(entry));
      default:
        return tree.link(parent, base, this.#writeSpecial(entry));
    }
  }

  #describeDirectory(directory: number, entry: TarEntry): void {
    this.#tree.describe(directory, entry);
    this.#tree.setXattrs(directory, xattrsOf(entry));
  }

  #whiteout(directory: number, base: string): void {
    if (!this.#tree.needsWhiteout(directory, base)) return;
    const inode = this.#tree.add(mode.char);
    this.#tree.inodes.setWhiteout(inode);
    this.#writeInode(inode, { ...plainInode, type: mode.char }, { mode: 0, uid: 0, gid: 0, mtime: { seconds: 0, nanos: 0 } }, nothing);
    this.#tree.link(directory, base, inode);
  }

  #writeSpecial(entry: TarEntry): number {
    const type = mode[entry.type === "char" || entry.type === "block" ? entry.type : "fifo"];
    const inode = this.#tree.add(type);
    const device = type === mode.fifo ? 0 : encodeDevice(entry.devMajor, entry.devMinor);
    if (type === mode.char && device === 0) this.#tree.inodes.setWhiteout(inode);
    this.#writeInode(inode, { ...plainInode, type, device }, entry, encodeXattrs(xattrsOf(entry)));
    return inode;
  }

  #writeSymlink(entry: TarEntry): number {
    const inode = this.#tree.add(mode.symlink);
    const target = Buffer.from(entry.linkName, "latin1");
    const xattrs = encodeXattrs(xattrsOf(entry));
    const inline = inodeSize + xattrs.length + target.length <= blockSize;
    const o = { ...plainInode, type: mode.symlink, size: target.length, inlineBytes: inline ? target.length : 0 };
    target.copy(this.#writeInode(inode, o, { ...entry, mode: 0o777 }, xattrs));
    if (!inline) {
      this.#image.append(target);
      this.#image.align();
    }
    this.#tree.setTarget(inode, entry.linkName);
    return inode;
  }

  #beginFile(entry: TarEntry): number {
    const inode = this.#tree.add(mode.file);
    const xattrs = encodeXattrs(xattrsOf(entry));
    const rest = entry.size % blockSize;
    const inlineBytes = inodeSize + xattrs.length + rest <= blockSize ? rest : 0;
    const tail = this.#writeInode(inode, { ...plainInode, type: mode.file, size: entry.size, inlineBytes }, entry, xattrs);
    this.#file = { start: this.#image.position, wholeBytes: entry.size - inlineBytes, tail };
    return inode;
  }

  /** Its data follow from where the image ends then. @returns what stands behind it, to be filled in before the next inode */
  #writeInode(inode: number, o: NewInode, like: Pick<TarEntry, "mode" | "uid" | "gid" | "mtime">, xattrs: Buffer): Buffer {
    const room = this.#blocks.take(inode, inodeSize + xattrs.length + o.inlineBytes);
    const isDevice = o.type === mode.char || o.type === mode.block;
    const address = isDevice ? o.device : o.size > o.inlineBytes ? this.#image.position / blockSize : noBlock;
    const { uid, gid, mtime } = like;
    // One name, as nearly all files have; finish() puts it right for the others.
    const layout = o.inlineBytes > 0 ? "inline" : "plain";
    encodeInode(
      { layout, xattrBytes: xattrs.length, mode: o.type | like.mode, size: o.size, address, uid, gid, mtime, links: 1 },
      inode + 1,
      room,
      0,
    );
    xattrs.copy(room, inodeSize);
    return room.subarray(inodeSize + xattrs.length);
  }

  #writeDirectories(layout: DirectoryLayout): void {
    for (const directory of layout.directories) {
      if (wholeBlocks(directory) === 0) continue;
      this.#image.append(this.#entriesOf(directory).subarray(0, directory.size - directory.inlineBytes));
      this.#image.align();
    }
    const [root, ...others] = layout.directories;
    for (const directory of others) this.#writeDirectory(directory, this.#blocks.take(directory.inode, inodeLength(directory)));
    this.#blocks.flush();
    if (root === undefined) return;
    const block = Buffer.alloc(inodeLength(root));
    if (block.length > blockSize) throw new NeedsDirectory("the root's attributes take more than a block");
    this.#writeDirectory(root, block);
    writeSync(this.#fd, block, 0, block.length, rootNid * slotSize);
  }

  #writeDirectory(directory: PlacedDirectory, into: Buffer): void {
    const { inode, links, size, inlineBytes, xattrs, address } = directory;
    const bits = this.#tree.inodes.mode(inode);
    const layout = inlineBytes > 0 ? "inline" : "plain";
    const attributes = this.#tree.attributes(inode);
    encodeInode({ ...attributes, layout, xattrBytes: xattrs.length, mode: bits, size, address, links }, inode + 1, into, 0);
    xattrs.copy(into, inodeSize);
    if (inlineBytes > 0) this.#entriesOf(directory).copy(into, inodeSize + xattrs.length, size - inlineBytes);
  }

  #entriesOf({ inode, parent, names }: PlacedDirectory): Buffer {
    const { inodes } = this.#tree;
    const children = this.#tree.children(inode);
    return encodeDirectory(
      names.map((name) => {
        const child = name === "." ? inode : name === ".." ? parent : children.get(name);
        if (child === undefined) throw new CridError("internal", `${this.#path}: a directory entry without a file`);
        return { name, nid: inodes.nid(child), mode: inodes.mode(child) };
      }),
    );
  }

  /** The number of names of files that have several. */
  #writeLinks({ linked }: DirectoryLayout): void {
    const { inodes } = this.#tree;
    const links = Buffer.alloc(4);
    for (const inode of linked) {
      links.writeUInt32LE(inodes.links(inode));
      writeSync(this.#fd, links, 0, links.length, inodes.nid(inode) * slotSize + linksOffset);
    }
  }
}

function xattrsOf({ xattrs, type }: TarEntry): ReadonlyMap<string, Buffer> {
  return xattrs.size === 0 ? xattrs : storableXattrs(xattrs, type);
}

function impliedPaths(tree: ErofsTree): string[] {
  const found: string[] = [];
  const names = new NameMemory();
  const pending: [string, number][] = [["", tree.root]];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [path, directory] = next;
    if (tree.implied(directory)) {
      names.take(path);
      found.push(path);
    }
    for (const [name, child] of tree.children(directory))
      if (tree.isDirectory(child)) pending.push([path === "" ? name : `${path}/${name}`, child]);
  }
  return found;
}
