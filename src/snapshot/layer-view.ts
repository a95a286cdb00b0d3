import type { BigIntStats } from "node:fs";
import { lstat } from "node:fs/promises";
import { ErofsImage } from "../archive/erofs/erofs-reader.ts";
import { isWhiteout } from "../archive/layer-tree.ts";
import { isErrno } from "../base/errors.ts";
import { lgetxattr, llistxattr } from "../linux/xattr.ts";

/** What one layer says of a path. */
export type LayerAnswer =
  | { kind: "absent" }
  /** Nothing below this layer shows through at the path. */
  | { kind: "hidden" }
  | { kind: "found"; file: LayerFile; hidesBelow: boolean };

export interface LayerFile {
  /** Type and permission bits. */
  mode: number;
  uid: number;
  gid: number;
  mtime: { seconds: number; nanos: number };
  xattrs: Map<string, Buffer>;
  /** Where its data can be read, for a layer that is a directory. */
  path?: Buffer;
}

const isDirectory = (mode: number): boolean => (mode & 0o170000) === 0o040000;
const opaque = "trusted.overlay.opaque";

/** A committed layer, asked for files by path. No link is followed: one could lead out of the layer. */
export interface LayerView extends Disposable {
  find(parts: readonly string[]): Promise<LayerAnswer>;
}

type Seen = LayerFile & { isWhiteout: boolean };

/** A layer that is a directory. */
export class DirectoryView implements LayerView {
  readonly #root: string;
  readonly #way = new Way((parts) => this.#file(parts));

  constructor(root: string) {
    this.#root = root;
  }

  [Symbol.dispose](): void {}

  find(parts: readonly string[]): Promise<LayerAnswer> {
    return this.#way.walk(parts);
  }

  async #file(parts: readonly string[]): Promise<Seen | undefined> {
    const path = absolute(this.#root, parts.join("/"));
    const stat = await lstatIfThere(path);
    if (stat === undefined) return undefined;
    const xattrs = new Map<string, Buffer>();
    if (!stat.isSymbolicLink()) {
      for (const name of llistxattr(path)) {
        const value = lgetxattr(path, name);
        if (value !== undefined) xattrs.set(name, value);
      }
    }
    const nanos = ((stat.mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    const mtime = { seconds: Number((stat.mtimeNs - nanos) / 1_000_000_000n), nanos: Number(nanos) };
    const { mode, uid, gid } = stat;
    return { mode: Number(mode), uid: Number(uid), gid: Number(gid), mtime, xattrs, path, isWhiteout: isWhiteout(stat) };
  }
}

/** A layer that is an EROFS image; it need not be mounted. */
export class ErofsView implements LayerView {
  readonly #image: ErofsImage;
  readonly #way = new Way(async (parts) => this.#file(parts));

  constructor(path: string) {
    this.#image = new ErofsImage(path);
  }

  [Symbol.dispose](): void {
    this.#image[Symbol.dispose]();
  }

  find(parts: readonly string[]): Promise<LayerAnswer> {
    return this.#way.walk(parts);
  }

  #file(parts: readonly string[]): Seen | undefined {
    const found = this.#image.lookup(parts);
    if (found === undefined) return undefined;
    const { mode, uid, gid, mtime, address } = found.inode;
    return { mode, uid, gid, mtime, xattrs: found.xattrs, isWhiteout: (mode & 0o170000) === 0o020000 && address === 0 };
  }
}

/** Bound on what a walk remembers. */
const maxSeen = 10_000;

/**
 * The way to a path, part by part. What lies on it is looked at once: a layer that implies directories implies hundreds of them below the same
 * few, most of which the layers below do not have.
 */
class Way {
  readonly #look: (parts: readonly string[]) => Promise<Seen | undefined>;
  readonly #seen = new Map<string, Seen | undefined>();

  constructor(look: (parts: readonly string[]) => Promise<Seen | undefined>) {
    this.#look = look;
  }

  /** Looks at each directory on the way: a whiteout or a file there hides what is below, an opaque one too. */
  async walk(parts: readonly string[]): Promise<LayerAnswer> {
    let hidesBelow = false;
    for (let depth = 0; depth <= parts.length; depth++) {
      const file = await this.#at(parts.slice(0, depth));
      if (file === undefined) return { kind: hidesBelow ? "hidden" : "absent" };
      if (file.isWhiteout) return { kind: "hidden" };
      if (depth === parts.length) return { kind: "found", file, hidesBelow };
      if (!isDirectory(file.mode)) return { kind: "hidden" };
      hidesBelow ||= file.xattrs.get(opaque)?.toString() === "y";
    }
    return { kind: "absent" };
  }

  async #at(parts: readonly string[]): Promise<Seen | undefined> {
    const path = parts.join("/");
    if (this.#seen.has(path)) return this.#seen.get(path);
    const file = await this.#look(parts);
    if (this.#seen.size >= maxSeen) this.#seen.clear();
    this.#seen.set(path, file);
    return file;
  }
}

/** The file that a path shows in the merged layers. @param layers lowest first */
export async function findInLayers(layers: readonly LayerView[], path: string): Promise<LayerFile | undefined> {
  const parts = path === "" ? [] : path.split("/");
  for (const layer of layers.toReversed()) {
    const answer = await layer.find(parts);
    if (answer.kind === "found") return answer.file;
    if (answer.kind === "hidden") return undefined;
  }
  return undefined;
}

async function lstatIfThere(path: Buffer): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ENOTDIR")) return undefined;
    throw error;
  }
}

/** A path of a layer, one character a byte, below its root. */
export function absolute(root: string, path: string): Buffer {
  return Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, "latin1")]);
}
