import { type BigIntStats, chmodSync, lstatSync, mkdirSync, readlinkSync, rmSync, type Stats, unlinkSync } from "node:fs";
import { isErrno } from "../base/errors.ts";
import { mknod, S_IFCHR } from "../linux/files.ts";
import { lsetxattr } from "../linux/xattr.ts";
import { checkLength, resolveLink, shown, splitPath } from "./layer-path.ts";
import { malformed } from "./tar-header.ts";
import type { InodeLimit, NameMemory } from "./tree-memory.ts";

const maxLinkHops = 40;
/** Bounds on remembered directories and the length of their names; beyond them they are looked up again. */
const maxKnown = 200_000;
const maxKnownBytes = 32 * 1024 * 1024;
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
  #knownBytes = 0;
  #made = 0;
  readonly #limit: InodeLimit;
  readonly #names: NameMemory;

  constructor(root: string, o: { limit: InodeLimit; names: NameMemory }) {
    this.#limit = o.limit;
    this.#names = o.names;
    this.#root = Buffer.from(root.endsWith("/") ? root : `${root}/`);
  }

  /** Directories and whiteouts that were made. */
  get made(): number {
    return this.#made;
  }

  /** Gives the memory back. Nothing can be asked of it any more. */
  free(): void {
    this.#known.clear();
    this.#implied.clear();
  }

  absolute(path: string): Buffer {
    return Buffer.concat([this.#root, Buffer.from(path, "latin1")]);
  }

  /** Directories that no entry described. */
  implied(): string[] {
    return [...this.#implied].filter((path) => this.isDirectory(path));
  }

  /**
   * Whether a real path, as `directory` has answered it, still is one. Each part is looked at: any may have given way to a link, behind
   * which the kernel would find a directory of the host.
   */
  isDirectory(path: string): boolean {
    if (this.#known.has(path)) return true;
    if (!this.isDirectory(splitPath(path).parent) || this.#lstat(path)?.isDirectory() !== true) return false;
    this.#remember(path);
    return true;
  }

  /** Whether something could be made at a real path: its directory still is one, and has nothing of that name. */
  isFree(path: string): boolean {
    return this.isDirectory(splitPath(path).parent) && this.#lstat(path) === undefined;
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
  directory(path: string): string {
    if (this.#known.has(path)) return path;
    return this.#walk(path, (at, what) => {
      if (what === "file") throw malformed(`${shown(at)} is a file and has entries below it`);
      this.makeDirectory(at);
      this.#names.take(at);
      this.#implied.add(at);
      return true;
    }) as string;
  }

  /** Where an existing path really is, links in its directory part followed inside the root; undefined when it isn't there. */
  locate(path: string): string | undefined {
    const { parent, base } = splitPath(path);
    const within = this.#walk(parent, () => false);
    if (within === undefined) return undefined;
    const at = joined(within, base);
    return this.#lstat(at) === undefined ? undefined : at;
  }

  /**
   * Walks down from the root, part by part; a loop, since links can make a way of a hundred thousand parts.
   * @param onMissing called where there is no directory; whether there is one now
   */
  #walk(path: string, onMissing: (at: string, what: "nothing" | "file") => boolean): string | undefined {
    let at = "";
    let rest = path === "" ? [] : path.split("/");
    for (let hops = 0; rest.length > 0; ) {
      const next = joined(at, rest.shift() ?? "");
      checkLength(next);
      if (!this.#known.has(next)) {
        const stat = this.#lstat(next);
        if (stat?.isSymbolicLink() === true) {
          if (++hops > maxLinkHops) throw malformed(`too many links on the way to ${shown(path)}`);
          const way = joined(resolveLink(at, readlinkSync(this.absolute(next), "latin1")), rest.join("/"));
          checkLength(way);
          rest = way.split("/").filter((part) => part !== "");
          at = "";
          continue;
        }
        if (stat?.isDirectory() !== true) {
          const what = stat === undefined || isWhiteout(stat) ? "nothing" : "file";
          if (!onMissing(next, what)) return undefined;
        }
        this.#remember(next);
      }
      at = next;
    }
    return at;
  }

  /** Makes the directory unless there; anything else in its place goes away. Over a whiteout it becomes opaque. */
  makeDirectory(path: string): void {
    const stat = this.#known.has(path) ? undefined : this.#lstat(path);
    if (!this.#known.has(path)) {
      if (stat !== undefined && !stat.isDirectory()) unlinkSync(this.absolute(path));
      if (stat === undefined || !stat.isDirectory()) {
        mkdirSync(this.absolute(path), 0o755);
        chmodSync(this.absolute(path), 0o755);
        this.#limit.check(++this.#made);
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
    // All of them, not those below alone: looking through them for each of many such entries would take for ever.
    this.#forget();
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
    this.#limit.check(++this.#made);
  }

  #remember(path: string): void {
    if (this.#known.size >= maxKnown || this.#knownBytes > maxKnownBytes) this.#forget();
    this.#known.add(path);
    this.#knownBytes += path.length;
  }

  #forget(): void {
    this.#known.clear();
    this.#knownBytes = 0;
    this.#known.add("");
  }

  #lstat(path: string): Stats | undefined {
    try {
      // An error for each name that is not there yet would cost more than the rest of the entry.
      return lstatSync(this.absolute(path), { throwIfNoEntry: false });
    } catch (error) {
      if (isErrno(error, "ENOTDIR")) return undefined;
      throw error;
    }
  }
}

/** A character device 0:0, which is how overlayfs marks a removed file. */
export function isWhiteout(stat: Stats | BigIntStats): boolean {
  return stat.isCharacterDevice() && Number(stat.rdev) === 0;
}

function joined(directory: string, base: string): string {
  return directory === "" || base === "" ? directory + base : `${directory}/${base}`;
}
