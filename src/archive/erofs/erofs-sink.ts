import { closeSync, openSync, unlinkSync, writeSync } from "node:fs";
import { CridError } from "../../base/errors.ts";
import { cleanPath, splitPath, whiteoutOf } from "../layer-path.ts";
import type { LayerSink, SinkResult } from "../layer-sink.ts";
import type { TarEntry } from "../tar-entry.ts";
import { malformed } from "../tar-header.ts";
import { storableXattrs } from "../xattr-rules.ts";
import { BlockWriter } from "./block-writer.ts";
import { blockSize, encodeDevice, encodeDirectory, encodeInode, encodeSuperblock, encodeXattrs, inodeSize, superOffset } from "./format.ts";
import { type Placed, Placement, sortedNames } from "./placement.ts";
import { SpoolReader } from "./spool-reader.ts";
import { ErofsTree, mode, type Node, newNode, noXattrs } from "./tree.ts";

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
  readonly #tree = new ErofsTree();
  readonly #fd: number;
  readonly #spoolFd: number;
  #open = true;
  readonly #scratch = Buffer.alloc(blockSize);
  readonly #spoolReader: SpoolReader;
  readonly #image: BlockWriter;
  readonly #spool: BlockWriter;
  /** The last part of the file that is being written. */
  readonly #tailBuffer = Buffer.alloc(blockSize);
  #file: { node: Node; start: number; wholeBytes: number; tail: Buffer } | undefined;

  /** @param path the image, which must not exist · @param uuid 16 bytes that the image is told apart by */
  constructor(path: string, uuid: Buffer) {
    this.#path = path;
    this.#uuid = uuid;
    this.#fd = openSync(path, "wx", 0o600);
    this.#spoolFd = openSync(`${path}.spool`, "wx+", 0o600);
    unlinkSync(`${path}.spool`);
    this.#spoolReader = new SpoolReader(this.#spoolFd, path);
    this.#image = new BlockWriter(this.#fd, { start: blockSize, bufferBytes: 256 * 1024 });
    this.#spool = new BlockWriter(this.#spoolFd, { start: 0, bufferBytes: 64 * 1024 });
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
        this.#tree.root.implied = false;
        describe(this.#tree.root, entry, mode.directory);
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
    const placement = new Placement(this.#tree.root);
    this.#writeBlocks(placement);
    const metaBlock = this.#image.position / blockSize;
    for (const block of placement.blocks) this.#image.append(this.#metaBlock(block, placement));
    const blocks = this.#image.position / blockSize;
    this.#image.flush();
    const superblock = encodeSuperblock({
      rootNid: placement.nid(this.#tree.root),
      inodes: placement.placed.size,
      blocks,
      metaBlock,
      uuid: this.#uuid,
    });
    writeSync(this.#fd, superblock, 0, superblock.length, superOffset);
    this.#close();
    return {
      bytes: blocks * blockSize,
      inodes: placement.placed.size,
      fixups: { impliedDirectories: impliedPaths(this.#tree.root), foreignLinks: [] },
    };
  }

  abandon(): void {
    this.#close();
  }

  #close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#fd);
    closeSync(this.#spoolFd);
  }

  #make(entry: TarEntry, parent: Node, base: string): void {
    switch (entry.type) {
      case "directory":
        return describe(this.#tree.makeDirectory(parent, base, false), entry, mode.directory);
      case "link": {
        const target = cleanPath(entry.linkName);
        if (target === "") throw malformed(`hard link ${JSON.stringify(entry.path)} to the root`);
        const node = this.#tree.locate(target);
        if (node === undefined) throw new NeedsDirectory(`the hard link ${JSON.stringify(entry.path)} leads to a layer below`);
        if (node.children !== undefined) throw malformed(`hard link ${JSON.stringify(entry.path)} to a directory`);
        parent.children?.set(base, node);
        return;
      }
      case "file":
        return this.#beginFile(entry, parent, base);
      default: {
        const node = newNode(mode[entry.type]);
        describe(node, entry, mode[entry.type]);
        node.target = entry.type === "symlink" ? entry.linkName : "";
        node.device = entry.type === "char" || entry.type === "block" ? encodeDevice(entry.devMajor, entry.devMinor) : 0;
        parent.children?.set(base, node);
      }
    }
  }

  #beginFile(entry: TarEntry, parent: Node, base: string): void {
    const node = newNode(mode.file);
    describe(node, entry, mode.file);
    node.size = entry.size;
    const rest = entry.size % blockSize;
    const inline = rest > 0 && inodeSize + xattrsLength(node) + rest <= blockSize;
    const start = this.#image.position;
    node.block = start / blockSize;
    if (inline) node.spoolOffset = this.#spool.position;
    this.#file = {
      node,
      start,
      wholeBytes: inline ? entry.size - rest : entry.size,
      tail: this.#tailBuffer.subarray(0, inline ? rest : 0).fill(0),
    };
    parent.children?.set(base, node);
  }

  /** The blocks of directories and of symlinks that are too long to stand behind their inode. */
  #writeBlocks(placement: Placement): void {
    for (const placed of placement.placed.values()) {
      if (placed.size === placed.inline) continue;
      const data = this.#ownData(placed, placement);
      if (data === undefined) continue;
      placed.block = this.#image.position / blockSize;
      this.#image.append(data.subarray(0, placed.size - placed.inline));
      this.#image.align();
    }
  }

  /** One block of the metadata area, or all blocks of an inode that is larger; valid until the next call. */
  #metaBlock(items: readonly Placed[], placement: Placement): Buffer {
    const first = items[0];
    // The further blocks of a large inode were written with its first.
    if (first === undefined) return nothing;
    const large = inodeSize + first.xattrs.length;
    const block = large > blockSize ? Buffer.alloc(Math.ceil(large / blockSize) * blockSize) : this.#scratch.fill(0);
    for (const placed of items) {
      const { node, xattrs, inline, size, links } = placed;
      const at = placed.offset % blockSize;
      const isDevice = (node.mode & 0o170000) === mode.char || (node.mode & 0o170000) === mode.block;
      encodeInode(
        {
          layout: inline > 0 ? "inline" : "plain",
          xattrBytes: xattrs.length,
          mode: node.mode,
          size,
          address: isDevice ? node.device : size > inline ? placed.block : 0xffffffff,
          uid: node.uid,
          gid: node.gid,
          mtime: node.mtime,
          links,
        },
        placed.offset / 32,
        block,
        at,
      );
      xattrs.copy(block, at + inodeSize);
      if (inline > 0) this.#tail(placed, placement, block, at + inodeSize + xattrs.length);
    }
    return block;
  }

  #tail(placed: Placed, placement: Placement, into: Buffer, at: number): void {
    const own = this.#ownData(placed, placement);
    if (own !== undefined) own.copy(into, at, placed.size - placed.inline);
    else this.#spoolReader.read(placed.node.spoolOffset, into, at, placed.inline);
  }

  /** Data that is made here and not read from the tar. */
  #ownData({ node }: Placed, placement: Placement): Buffer | undefined {
    if ((node.mode & 0o170000) === mode.symlink) return Buffer.from(node.target, "latin1");
    if (node.children === undefined) return undefined;
    const parentOf = this.#parents;
    return encodeDirectory(
      sortedNames(node).map((name) => {
        const child = name === "." ? node : name === ".." ? (parentOf.get(node) ?? this.#tree.root) : node.children?.get(name);
        if (child === undefined) throw new CridError("internal", `${this.#path}: a directory entry without a file`);
        return { name, nid: placement.nid(child), mode: child.mode };
      }),
    );
  }

  /** The parent of each directory, found when first asked for: the tree is complete by then. */
  get #parents(): Map<Node, Node> {
    if (this.#parentMap === undefined) {
      this.#parentMap = new Map();
      const pending = [this.#tree.root];
      for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
        for (const child of node.children?.values() ?? []) {
          if (child.children === undefined) continue;
          this.#parentMap.set(child, node);
          pending.push(child);
        }
      }
    }
    return this.#parentMap;
  }

  #parentMap: Map<Node, Node> | undefined;
}

function describe(node: Node, entry: TarEntry, type: number): void {
  node.mode = type | (type === mode.symlink ? 0o777 : entry.mode);
  node.uid = entry.uid;
  node.gid = entry.gid;
  node.mtime = entry.mtime;
  const opaque = node.xattrs.get("trusted.overlay.opaque");
  // An empty map is shared by all nodes: most have none, and a map each would cost more than the rest of the node.
  const xattrs = entry.xattrs.size === 0 ? noXattrs : storableXattrs(entry.xattrs);
  node.xattrs = opaque === undefined ? xattrs : new Map([...xattrs, ["trusted.overlay.opaque", opaque]]);
}

function xattrsLength({ xattrs }: Node): number {
  return xattrs.size === 0 ? 0 : encodeXattrs(xattrs).length;
}

function impliedPaths(root: Node): string[] {
  const found: string[] = [];
  const pending: [string, Node][] = [["", root]];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [path, node] = next;
    if (node.implied) found.push(path);
    for (const [name, child] of node.children ?? [])
      if (child.children !== undefined) pending.push([path === "" ? name : `${path}/${name}`, child]);
  }
  return found;
}
