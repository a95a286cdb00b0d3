import { type BigIntStats, chmodSync, lstatSync, mkdirSync, readlinkSync, rmSync, type Stats, unlinkSync } from "node:fs";
import { isErrno } from "../base/errors.ts";
import { mknod, S_IFCHR } from "../linux/files.ts";
import { lsetxattr } from "../linux/xattr.ts";
import { resolveLink, splitPath } from "./layer-path.ts";
import { malformed } from "./tar-header.ts";

const maxLinkHops = 40;
/** Bound on remembered directories; beyond it they are looked up again. */
const maxKnown = 200_000;
const yes = Buffer.from("y");

/**
 * The tree of a layer that is being unpacked, addressed by clean paths (see layer-path.ts). Whatever links the layer brings,
 * a path never leaves the root: each part is looked at without following it, and a link is followed here, not by the kernel.
 */
export class LayerTree {
  readonly #root: Buffer;
  /** Directories known to be there and to be no links. */
  readonly #known = new Set<string>([""]);
  readonly #implied = new Set<string>([""]);
  #made = 0;

  constructor(root: string) {
    this.#root = Buffer.from(root.endsWith("/") ? root : `${root}/`);
  }

  /** Directories and whiteouts that were made. */
  get made(): number {
    return this.#made;
  }

  absolute(path: string): Buffer {
    return Buffer.concat([this.#root, Buffer.from(path, "latin1")]);
  }

  /** Directories that no entry described. */
  implied(): string[] {
    return [...this.#implied].filter((path) => this.isDirectory(path));
  }

  isDirectory(path: string): boolean {
    return this.#known.has(path) || this.#lstat(path)?.isDirectory() === true;
  }

  /** An entry of the tar describes this directory. */
  claim(path: string): void {
    this.#implied.delete(path);
  }

  /**
   * The directory at a path, made where missing, links on the way followed inside the root. Answers its real path.
   *
   * @throws invalid-argument when something on the way is no directory, or links go round in a circle
   */
  directory(path: string, hops = 0): string {
    if (this.#known.has(path)) return path;
    const { parent, base } = splitPath(path);
    const within = this.directory(parent, hops);
    const at = within === "" ? base : `${within}/${base}`;
    if (this.#known.has(at)) return at;
    const stat = this.#lstat(at);
    if (stat === undefined || isWhiteout(stat)) {
      this.makeDirectory(at);
      this.#implied.add(at);
    } else if (stat.isSymbolicLink()) {
      if (hops >= maxLinkHops) throw malformed(`too many links on the way to ${JSON.stringify(path)}`);
      return this.directory(resolveLink(within, readlinkSync(this.absolute(at), "latin1")), hops + 1);
    } else if (!stat.isDirectory()) {
      throw malformed(`${JSON.stringify(at)} is a file and has entries below it`);
    }
    this.#remember(at);
    return at;
  }

  /** Where an existing path really is, links in its directory part followed inside the root; undefined when it isn't there. */
  locate(path: string, hops = 0): string | undefined {
    const { parent, base } = splitPath(path);
    let within: string | undefined = parent;
    if (!this.#known.has(parent)) {
      within = this.locate(parent, hops);
      if (within === undefined) return undefined;
      const stat = this.#lstat(within);
      if (stat?.isSymbolicLink() === true) {
        if (hops >= maxLinkHops) throw malformed(`too many links on the way to ${JSON.stringify(path)}`);
        return this.locate(joined(resolveLink(splitPath(within).parent, readlinkSync(this.absolute(within), "latin1")), base), hops + 1);
      }
      if (stat?.isDirectory() !== true) return undefined;
    }
    const at = joined(within, base);
    return this.#lstat(at) === undefined ? undefined : at;
  }

  /** Makes the directory unless there; anything else in its place goes away. Over a whiteout it becomes opaque. */
  makeDirectory(path: string): void {
    const stat = this.#known.has(path) ? undefined : this.#lstat(path);
    if (!this.#known.has(path)) {
      if (stat !== undefined && !stat.isDirectory()) unlinkSync(this.absolute(path));
      if (stat === undefined || !stat.isDirectory()) {
        mkdirSync(this.absolute(path), 0o755);
        chmodSync(this.absolute(path), 0o755);
        this.#made++;
      }
      this.#remember(path);
      // The layer removed the lower directory and made a new one: what was below must not show through.
      if (stat !== undefined && isWhiteout(stat)) this.makeOpaque(path);
    }
    this.#implied.delete(path);
  }

  /** Removes whatever is at the path, so that an entry can take its place: the later entry of a tar wins. */
  clear(path: string): void {
    const stat = this.#lstat(path);
    if (stat === undefined) return;
    if (!stat.isDirectory()) return unlinkSync(this.absolute(path));
    rmSync(this.absolute(path), { recursive: true, force: true });
    for (const known of [...this.#known]) if (known === path || known.startsWith(`${path}/`)) this.#known.delete(known);
  }

  makeOpaque(directory: string): void {
    lsetxattr(this.absolute(directory), "trusted.overlay.opaque", yes);
  }

  /**
   * Hides `base` of the layers below. Whiteouts only concern those: a file that this layer brings itself stays, and a
   * directory that it brings becomes opaque.
   */
  whiteout(directory: string, base: string): void {
    const path = joined(directory, base);
    const stat = this.#lstat(path);
    if (stat?.isDirectory() === true) return this.makeOpaque(path);
    if (stat !== undefined) return;
    mknod(this.absolute(path), S_IFCHR, 0n);
    this.#made++;
  }

  #remember(path: string): void {
    if (this.#known.size >= maxKnown) {
      this.#known.clear();
      this.#known.add("");
    }
    this.#known.add(path);
  }

  #lstat(path: string): Stats | undefined {
    try {
      return lstatSync(this.absolute(path));
    } catch (error) {
      if (isErrno(error, "ENOENT") || isErrno(error, "ENOTDIR")) return undefined;
      throw error;
    }
  }
}

/** A character device 0:0, which is how overlayfs marks a removed file. */
export function isWhiteout(stat: Stats | BigIntStats): boolean {
  return stat.isCharacterDevice() && Number(stat.rdev) === 0;
}

function joined(directory: string, base: string): string {
  return directory === "" ? base : `${directory}/${base}`;
}
