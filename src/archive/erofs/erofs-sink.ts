import { closeSync, openSync, unlinkSync, writeSync } from "node:fs";
import { CridError } from "../../base/errors.ts";
import { cleanPath, splitPath, whiteoutOf } from "../layer-path.ts";
import type { LayerSink, SinkResult } from "../layer-sink.ts";
import type { TarEntry } from "../tar-entry.ts";
import { malformed } from "../tar-header.ts";
import { InodeLimit, NameMemory, TreeMemory } from "../tree-memory.ts";
import { storableXattrs } from "../xattr-rules.ts";
import { BlockWriter } from "./block-writer.ts";
import { blockSize, encodeDevice, encodeDirectory, encodeSuperblock, encodeXattrs, inodeSize, slotSize, superOffset } from "./format.ts";
import { mode } from "./inode-table.ts";
import { Placement, sortedNames, xattrsLength } from "./placement.ts";
import { SpoolReader } from "./spool-reader.ts";
import { ErofsTree } from "./tree.ts";

const nothing = Buffer.alloc(0);

/** What ends an unpack into EROFS whose layer needs a directory: the caller unpacks it again as one. */
export class NeedsDirectory extends CridError {
  constructor(why: string) {
    super("failed-precondition", `this layer cannot be an EROFS image: ${why}`);
  }
}

/**
 * Writes a layer as one EROFS image while its tar streams by:
 *
 * ```
 * block 0       superblock
 * data blocks   whole blocks of files, in the tar's order
 * directories   those of their blocks that don't fit behind their inode
 * metadata      inodes, each with its xattrs and the last part of its data
 * ```
 *
 * The last parts of files wait in a spool beside the image, as inodes are only known at the end.
 */
export class ErofsSink implements LayerSink {
  readonly #path: string;
  readonly #uuid: Buffer;
  readonly #memory = new TreeMemory(() => new NeedsDirectory("its names, links and attributes take more memory than there is for them"));
  readonly #tree: ErofsTree;
  readonly #fd: number;
  readonly #spoolFd: number;
  #open = true;
  readonly #scratch = Buffer.alloc(blockSize);
  readonly #spoolReader: SpoolReader;
  readonly #image: BlockWriter;
  readonly #spool: BlockWriter;
  /** The last part of the file that is being written. */
  readonly #tailBuffer = Buffer.alloc(blockSize);
  #file: { start: number; wholeBytes: number; tail: Buffer } | undefined;

  /** @param path the image, which must not exist · @param uuid 16 bytes that the image is told apart by */
  constructor(path: string, uuid: Buffer, limits: { maxEntries: number }) {
    this.#tree = new ErofsTree({ memory: this.#memory, limit: new InodeLimit(limits.maxEntries) });
    this.#path = path;
    this.#uuid = uuid;
    this.#fd = openSync(path, "wx", 0o600);
    this.#spoolFd = openSync(`${path}.spool`, "wx+", 0o600);
    unlinkSync(`${path}.spool`);
    this.#spoolReader = new SpoolReader(this.#spoolFd, path);
    this.#image = new BlockWriter(this.#fd, { start: blockSize });
    this.#spool = new BlockWriter(this.#spoolFd, { start: 0 });
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
        return this.#tree.whiteout(this.#tree.directory(parent), whiteout.base);
      case "none":
        if (path !== "") return this.#make(entry, this.#tree.directory(parent), base);
        if (entry.type !== "directory") throw malformed("the root of the layer is not a directory");
        this.#tree.inodes.setImplied(this.#tree.root, false);
        this.#describe(this.#tree.root, entry, mode.directory);
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
    this.#spool.append(file.tail);
  }

  /** Writes the rest. The image is one file: whoever gives it its name syncs it, beside what else he has to sync. */
  async finish(): Promise<SinkResult> {
    this.#spool.flush();
    const placement = new Placement(this.#tree);
    this.#writeBlocks(placement);
    const metaBlock = this.#image.position / blockSize;
    for (let block = 0; block < placement.blocks; block++) this.#image.append(this.#metaBlock([...placement.inBlock(block)], placement));
    const blocks = this.#image.position / blockSize;
    this.#image.flush();
    const superblock = encodeSuperblock({
      rootNid: placement.nid(this.#tree.root),
      inodes: placement.count,
      blocks,
      metaBlock,
      uuid: this.#uuid,
    });
    writeSync(this.#fd, superblock, 0, superblock.length, superOffset);
    const result = {
      bytes: blocks * blockSize,
      inodes: placement.count,
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
    closeSync(this.#spoolFd);
    for (const owner of [this.#image, this.#spool, this.#spoolReader]) owner.close();
    this.#tree.inodes.free();
    this.#memory.free();
  }

  #make(entry: TarEntry, parent: number, base: string): void {
    const tree = this.#tree;
    switch (entry.type) {
      case "directory":
        return this.#describe(tree.makeDirectory(parent, base, false), entry, mode.directory);
      case "link": {
        const target = cleanPath(entry.linkName);
        if (target === "") throw malformed(`hard link ${JSON.stringify(entry.path)} to the root`);
        const inode = tree.locate(target);
        if (inode === undefined) throw new NeedsDirectory(`the hard link ${JSON.stringify(entry.path)} leads to a layer below`);
        if (tree.isDirectory(inode)) throw malformed(`hard link ${JSON.stringify(entry.path)} to a directory`);
        return tree.link(parent, base, inode);
      }
      case "file":
        return this.#beginFile(entry, parent, base);
      default: {
        const inode = tree.add(mode[entry.type]);
        this.#describe(inode, entry, mode[entry.type]);
        if (entry.type === "symlink") tree.setTarget(inode, entry.linkName);
        if (entry.type === "char" || entry.type === "block") tree.inodes.setAddress(inode, encodeDevice(entry.devMajor, entry.devMinor));
        tree.link(parent, base, inode);
      }
    }
  }

  #describe(inode: number, entry: TarEntry, type: number): void {
    this.#tree.inodes.describe(inode, type | (type === mode.symlink ? 0o777 : entry.mode), entry);
    this.#tree.setXattrs(inode, entry.xattrs.size === 0 ? entry.xattrs : storableXattrs(entry.xattrs, entry.type));
  }

  #beginFile(entry: TarEntry, parent: number, base: string): void {
    const { inodes } = this.#tree;
    const inode = this.#tree.add(mode.file);
    this.#describe(inode, entry, mode.file);
    inodes.setSize(inode, entry.size);
    const rest = entry.size % blockSize;
    const inline = rest > 0 && inodeSize + xattrsLength(this.#tree, inode) + rest <= blockSize;
    const start = this.#image.position;
    inodes.setAddress(inode, start / blockSize);
    if (inline) inodes.setSpoolOffset(inode, this.#spool.position);
    this.#file = {
      start,
      wholeBytes: inline ? entry.size - rest : entry.size,
      tail: this.#tailBuffer.subarray(0, inline ? rest : 0).fill(0),
    };
    this.#tree.link(parent, base, inode);
  }

  /** The blocks of directories and of symlinks that are too long to stand behind their inode. */
  #writeBlocks(placement: Placement): void {
    const { inodes } = this.#tree;
    for (const inode of placement.spilled) {
      const data = this.#ownData(inode, placement);
      if (data === undefined) continue;
      inodes.setAddress(inode, this.#image.position / blockSize);
      this.#image.append(data.subarray(0, data.length - this.#inlineBytes(inode)));
      this.#image.align();
    }
  }

  /** Bytes of data that stand right behind the inode and its xattrs. */
  #inlineBytes(inode: number): number {
    const { inodes } = this.#tree;
    return inodes.isInline(inode) ? inodes.size(inode) % blockSize : 0;
  }

  /** One block of the metadata area, or all blocks of an inode that is larger; valid until the next call. */
  #metaBlock(items: readonly number[], placement: Placement): Buffer {
    const [first] = items;
    // The further blocks of a large inode were written with its first.
    if (first === undefined) return nothing;
    const large = inodeSize + xattrsLength(this.#tree, first);
    const block = large > blockSize ? Buffer.alloc(Math.ceil(large / blockSize) * blockSize) : this.#scratch.fill(0);
    for (const inode of items) {
      const at = (placement.nid(inode) * slotSize) % blockSize;
      this.#tree.inodes.copyTo(inode, block, at);
      const xattrs = this.#tree.xattrs(inode);
      const xattrBytes = xattrs.size === 0 ? 0 : encodeXattrs(xattrs).copy(block, at + inodeSize);
      const inline = this.#inlineBytes(inode);
      if (inline === 0) continue;
      const own = this.#ownData(inode, placement);
      if (own !== undefined) own.copy(block, at + inodeSize + xattrBytes, own.length - inline);
      else this.#spoolReader.read(this.#tree.inodes.spoolOffset(inode), block, at + inodeSize + xattrBytes, inline);
    }
    return block;
  }

  /** Data that is made here and not read from the tar. */
  #ownData(inode: number, placement: Placement): Buffer | undefined {
    const tree = this.#tree;
    if (tree.inodes.isType(inode, mode.symlink)) return Buffer.from(tree.target(inode), "latin1");
    if (!tree.isDirectory(inode)) return undefined;
    const children = tree.children(inode);
    return encodeDirectory(
      sortedNames(tree, inode).map((name) => {
        const child = name === "." ? inode : name === ".." ? placement.parent(inode) : children.get(name);
        if (child === undefined) throw new CridError("internal", `${this.#path}: a directory entry without a file`);
        return { name, nid: placement.nid(child), mode: tree.inodes.mode(child) };
      }),
    );
  }
}

function impliedPaths(tree: ErofsTree): string[] {
  const found: string[] = [];
  const names = new NameMemory();
  const pending: [string, number][] = [["", tree.root]];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [path, directory] = next;
    if (tree.inodes.implied(directory)) {
      names.take(path);
      found.push(path);
    }
    for (const [name, child] of tree.children(directory))
      if (tree.isDirectory(child)) pending.push([path === "" ? name : `${path}/${name}`, child]);
  }
  return found;
}
