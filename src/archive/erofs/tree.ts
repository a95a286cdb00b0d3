import { maxXattrBytes } from "../entry-rules.ts";
import { checkLength, resolveLink, shown, splitPath } from "../layer-path.ts";
import type { TarEntry } from "../tar-entry.ts";
import { malformed } from "../tar-header.ts";
import type { InodeLimit, TreeMemory } from "../tree-memory.ts";
import { InodeTable, mode } from "./inode-table.ts";

const maxLinkHops = 40;
const opaque = "trusted.overlay.opaque";
const yes = Buffer.from("y");
const ofNobody: Attributes = { uid: 0, gid: 0, mtime: { seconds: 0, nanos: 0 } };
/**
 * Estimates of what an inode, a directory (until the end, where it is placed), its owner and time, a name, the first extended attribute of a directory,
 * and each one take beside their bytes.
 */
const inodeBytes = 64;
const directoryBytes = 200;
const attributesBytes = 120;
const nameBytes = 100;
const firstXattrBytes = 400;
const xattrBytes = 100;
const noXattrs: ReadonlyMap<string, Buffer> = new Map();
const noChildren: ReadonlyMap<string, number> = new Map();

/** What a directory has beside its mode. */
type Attributes = Pick<TarEntry, "uid" | "gid" | "mtime">;

/**
 * The tree of a layer in memory, with the rules of LayerTree (../layer-tree.ts): links on the way are followed inside the
 * layer, later entries win, whiteouts concern lower layers only. Files are inodes by number; several names may lead to one (hard links).
 */
export class ErofsTree {
  readonly inodes = new InodeTable();
  readonly root: number;
  /** Entries of directories that have any. */
  readonly #children = new Map<number, Map<string, number>>();
  /** Of directories that an entry of the tar described; the others are implied. */
  readonly #attributes = new Map<number, Attributes>();
  /**
   * Of the few directories that have any. Values are kept as text, one character a byte: a small buffer is a piece of a larger one, and keeps it from
   * going, with all the headers that were read into it.
   */
  readonly #xattrs = new Map<number, { values: Map<string, string>; bytes: number }>();
  /** Link targets; one character a byte. */
  readonly #targets = new Map<number, string>();
  /** The directory that was asked for last: a tar lists a directory's entries one after the other. */
  #last: { path: string; directory: number } | undefined;
  readonly #memory: TreeMemory;
  readonly #limit: InodeLimit;

  constructor(o: { memory: TreeMemory; limit: InodeLimit }) {
    this.#memory = o.memory;
    this.#limit = o.limit;
    this.root = this.add(mode.directory | 0o755);
  }

  /** A new inode. @throws invalid-argument when there are too many besides the root; what the memory throws when there is none */
  add(bits: number): number {
    this.#memory.take(inodeBytes);
    const inode = this.inodes.add(bits);
    this.#limit.check(this.inodes.count - 1);
    return inode;
  }

  isDirectory(inode: number): boolean {
    return this.inodes.isType(inode, mode.directory);
  }

  children(directory: number): ReadonlyMap<string, number> {
    return this.#children.get(directory) ?? noChildren;
  }

  /** Gives the inode a name; what had it before goes. */
  link(directory: number, base: string, inode: number): void {
    let children = this.#children.get(directory);
    if (children === undefined) {
      children = new Map();
      this.#children.set(directory, children);
    }
    // What goes may stand on the way to the directory that was asked for last.
    if (children.has(base)) this.#last = undefined;
    else this.#memory.take(nameBytes + base.length);
    children.set(base, inode);
  }

  /** Whether no entry of the tar has described the directory. */
  implied(directory: number): boolean {
    return !this.#attributes.has(directory);
  }

  attributes(directory: number): Attributes {
    return this.#attributes.get(directory) ?? ofNobody;
  }

  /** Mode, owner and time of a tar entry. */
  describe(directory: number, { mode: bits, uid, gid, mtime }: TarEntry): void {
    this.inodes.setMode(directory, mode.directory | bits);
    if (!this.#attributes.has(directory)) this.#memory.take(attributesBytes);
    this.#attributes.set(directory, { uid, gid, mtime });
  }

  xattrs(directory: number): ReadonlyMap<string, Buffer> {
    const own = this.#xattrs.get(directory);
    return own === undefined ? noXattrs : new Map([...own.values].map(([name, value]) => [name, Buffer.from(value, "latin1")]));
  }

  /** Those of a tar entry. What an entry before it said of the same directory stays, as in a file system, and the mark that it is opaque. */
  setXattrs(directory: number, xattrs: ReadonlyMap<string, Buffer>): void {
    if (xattrs.size === 0) return;
    let own = this.#xattrs.get(directory);
    if (own === undefined) {
      this.#memory.take(firstXattrBytes);
      own = { values: new Map(), bytes: 0 };
      this.#xattrs.set(directory, own);
    }
    for (const [name, value] of xattrs) {
      const before = own.values.get(name);
      const more = value.length + (before === undefined ? name.length : -before.length);
      this.#memory.take(more + (before === undefined ? xattrBytes : 0));
      own.bytes += more;
      own.values.set(name, value.toString("latin1"));
    }
    // Several entries of one directory add theirs up.
    if (own.bytes > maxXattrBytes) throw malformed(`a directory with ${own.bytes} bytes of extended attributes`);
  }

  target(symlink: number): string {
    return this.#targets.get(symlink) ?? "";
  }

  setTarget(symlink: number, target: string): void {
    this.#memory.take(target.length);
    this.#targets.set(symlink, target);
  }

  /** The directory at a path, made where missing. @throws invalid-argument as LayerTree.directory does */
  directory(path: string): number {
    if (this.#last?.path === path) return this.#last.directory;
    const directory = this.#walk(path, (parent, base, at, found) => {
      if (found !== undefined && !this.inodes.isWhiteout(found)) throw malformed(`${shown(at)} is a file and has entries below it`);
      return this.makeDirectory(parent, base);
    }) as number;
    this.#last = { path, directory };
    return directory;
  }

  /** The inode at a path, links in its directory part followed; undefined when it isn't there. */
  locate(path: string): number | undefined {
    const { parent, base } = splitPath(path);
    const directory = this.#walk(parent, () => undefined);
    return directory === undefined ? undefined : this.children(directory).get(base);
  }

  /** Gives the memory back. Nothing can be asked of it any more. */
  free(): void {
    this.inodes.free();
    for (const map of [this.#children, this.#attributes, this.#xattrs, this.#targets]) map.clear();
    this.#memory.free();
  }

  /** As LayerTree's. @param onMissing answers the directory in place of what is none */
  #walk(
    path: string,
    onMissing: (parent: number, base: string, at: string, found: number | undefined) => number | undefined,
  ): number | undefined {
    let directory = this.root;
    let at = "";
    let rest = path === "" ? [] : path.split("/");
    for (let hops = 0, index = 0; index < rest.length; ) {
      const base = rest[index++] ?? "";
      const next = at === "" ? base : `${at}/${base}`;
      checkLength(next);
      const found = this.children(directory).get(base);
      if (found !== undefined && this.inodes.isType(found, mode.symlink)) {
        if (++hops > maxLinkHops) throw malformed(`too many links on the way to ${shown(path)}`);
        const way = [resolveLink(at, this.target(found)), ...rest.slice(index)].join("/");
        checkLength(way);
        rest = way.split("/").filter((part) => part !== "");
        index = 0;
        at = "";
        directory = this.root;
        continue;
      }
      const below = found === undefined || !this.isDirectory(found) ? onMissing(directory, base, next, found) : found;
      if (below === undefined) return undefined;
      directory = below;
      at = next;
    }
    return directory;
  }

  /** The directory `base`, kept if there; anything else in its place goes. Over a whiteout it becomes opaque. */
  makeDirectory(parent: number, base: string): number {
    const found = this.children(parent).get(base);
    if (found !== undefined && this.isDirectory(found)) return found;
    this.#memory.take(directoryBytes);
    const directory = this.add(mode.directory | 0o755);
    if (found !== undefined && this.inodes.isWhiteout(found)) this.makeOpaque(directory);
    this.link(parent, base, directory);
    return directory;
  }

  makeOpaque(directory: number): void {
    this.setXattrs(directory, new Map([[opaque, yes]]));
  }

  /** Whether a whiteout needs a device of its own: what stands there hides what is below, and a directory does so once it is opaque. */
  needsWhiteout(directory: number, base: string): boolean {
    const found = this.children(directory).get(base);
    if (found !== undefined && this.isDirectory(found)) this.makeOpaque(found);
    return found === undefined;
  }
}
