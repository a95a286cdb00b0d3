import { checkLength, resolveLink, shown, splitPath } from "../layer-path.ts";
import { malformed } from "../tar-header.ts";

const maxLinkHops = 40;
const opaque = "trusted.overlay.opaque";
const yes = Buffer.from("y");

/** A file of the layer. Several names may lead to one node (hard links). */
export interface Node {
  /** Type and permission bits. */
  mode: number;
  uid: number;
  gid: number;
  mtime: { seconds: number; nanos: number };
  xattrs: ReadonlyMap<string, Buffer>;
  size: number;
  /** Device number, for devices. */
  device: number;
  /** Link target, for symlinks; one character a byte. */
  target: string;
  /** Entries, for directories. */
  children: Map<string, Node> | undefined;
  /** A directory that no entry of the tar described. */
  implied: boolean;
  /** First data block of what was written while the tar streamed by. */
  block: number;
  /** Where its last part lies in the spool, when that goes behind the inode. */
  spoolOffset: number;
}

export const mode = { file: 0o100000, directory: 0o040000, symlink: 0o120000, char: 0o020000, block: 0o060000, fifo: 0o010000 } as const;

export const noXattrs: ReadonlyMap<string, Buffer> = new Map();
const epoch = { seconds: 0, nanos: 0 };

export function newNode(bits: number): Node {
  return {
    mode: bits,
    uid: 0,
    gid: 0,
    mtime: epoch,
    xattrs: noXattrs,
    size: 0,
    device: 0,
    target: "",
    children: (bits & 0o170000) === mode.directory ? new Map() : undefined,
    implied: false,
    block: 0,
    spoolOffset: -1,
  };
}

/**
 * The tree of a layer in memory, with the rules of LayerTree (../layer-tree.ts): links on the way are followed inside the
 * layer, later entries win, whiteouts concern lower layers only.
 */
export class ErofsTree {
  readonly root: Node = { ...newNode(mode.directory | 0o755), implied: true };

  /** The directory at a path, made where missing. @throws invalid-argument as LayerTree.directory does */
  directory(path: string): Node {
    return this.#walk(path, (parent, base, at, found) => {
      if (found !== undefined && !isWhiteout(found)) throw malformed(`${shown(at)} is a file and has entries below it`);
      return this.makeDirectory(parent, base, true);
    }) as Node;
  }

  /** The node at a path, links in its directory part followed; undefined when it isn't there. */
  locate(path: string): Node | undefined {
    const { parent, base } = splitPath(path);
    return this.#walk(parent, () => undefined)?.children?.get(base);
  }

  /** As LayerTree's. @param onMissing answers the directory in place of what is none */
  #walk(path: string, onMissing: (parent: Node, base: string, at: string, found: Node | undefined) => Node | undefined): Node | undefined {
    let node = this.root;
    let at = "";
    let rest = path === "" ? [] : path.split("/");
    for (let hops = 0, index = 0; index < rest.length; ) {
      const base = rest[index++] ?? "";
      const next = at === "" ? base : `${at}/${base}`;
      checkLength(next);
      const found = node.children?.get(base);
      if (found !== undefined && (found.mode & 0o170000) === mode.symlink) {
        if (++hops > maxLinkHops) throw malformed(`too many links on the way to ${shown(path)}`);
        const way = [resolveLink(at, found.target), ...rest.slice(index)].join("/");
        checkLength(way);
        rest = way.split("/").filter((part) => part !== "");
        index = 0;
        at = "";
        node = this.root;
        continue;
      }
      const directory = found?.children === undefined ? onMissing(node, base, next, found) : found;
      if (directory === undefined) return undefined;
      node = directory;
      at = next;
    }
    return node;
  }

  /** The directory `base`, kept if there; anything else in its place goes. Over a whiteout it becomes opaque. */
  makeDirectory(parent: Node, base: string, implied: boolean): Node {
    const found = parent.children?.get(base);
    if (found?.children !== undefined) {
      if (!implied) found.implied = false;
      return found;
    }
    const node = { ...newNode(mode.directory | 0o755), implied };
    if (found !== undefined && isWhiteout(found)) this.makeOpaque(node);
    parent.children?.set(base, node);
    return node;
  }

  makeOpaque(directory: Node): void {
    directory.xattrs = new Map([...directory.xattrs, [opaque, yes]]);
  }

  whiteout(directory: Node, base: string): void {
    const found = directory.children?.get(base);
    if (found?.children !== undefined) this.makeOpaque(found);
    else if (found === undefined) directory.children?.set(base, newNode(mode.char));
  }
}

function isWhiteout(node: Node): boolean {
  return (node.mode & 0o170000) === mode.char && node.device === 0;
}
