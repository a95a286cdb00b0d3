import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  openSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { assertNever, isErrno } from "../base/errors.ts";
import { makeDev, mkfifo, mknod, S_IFBLK, S_IFCHR, syncfs } from "../linux/files.ts";
import { futimes, lutimes } from "../linux/times.ts";
import { setXattrs } from "./file-attributes.ts";
import { cleanPath, splitPath, whiteoutOf } from "./layer-path.ts";
import type { LayerSink, SinkResult } from "./layer-sink.ts";
import { LayerTree } from "./layer-tree.ts";
import type { TarEntry } from "./tar-entry.ts";
import { malformed } from "./tar-header.ts";
import { InodeLimit, NameMemory } from "./tree-memory.ts";
import type { LayerFixups } from "./unpack-job.ts";

/**
 * Writes a layer into a directory in the form that overlayfs takes as a lower one: whiteouts become character devices 0:0,
 * opaque markers the xattr trusted.overlay.opaque.
 *
 * The directory is private until it is committed, so what a path means can only be changed by the archive itself; `LayerTree`
 * keeps every path inside, links included. All calls are synchronous: it runs on a worker thread.
 */
export class DirectorySink implements LayerSink {
  readonly #root: string;
  readonly #tree: LayerTree;
  /** Directories get their times last, since every entry made in them changes these. */
  readonly #directories = new Map<string, TarEntry["mtime"]>();
  readonly #foreignLinks: LayerFixups["foreignLinks"] = [];
  readonly #names = new NameMemory();
  readonly #limit: InodeLimit;
  #file: { fd: number; path: Buffer; entry: TarEntry; end: number } | undefined;
  #bytes = 0;
  #inodes = 0;

  constructor(root: string, limits: { maxEntries: number }) {
    this.#root = root;
    this.#limit = new InodeLimit(limits.maxEntries);
    this.#tree = new LayerTree(root, { limit: this.#limit, names: this.#names });
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
        return path === "" ? this.#describeRoot(entry) : this.#make(entry, this.#tree.directory(parent), base);
    }
  }

  data(chunk: Buffer, offset: number): void {
    if (this.#file === undefined) return;
    for (let done = 0; done < chunk.length; ) done += writeSync(this.#file.fd, chunk, done, chunk.length - done, offset + done);
    this.#file.end = Math.max(this.#file.end, offset + chunk.length);
    this.#bytes += chunk.length;
  }

  entryEnd(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    const { fd, path, entry, end } = file;
    try {
      if (end < entry.size) ftruncateSync(fd, entry.size);
      // A chown clears setuid and setgid and file capabilities: owner first, mode next, xattrs last.
      fchownSync(fd, entry.uid, entry.gid);
      fchmodSync(fd, entry.mode);
      setXattrs(path, entry);
      futimes(fd, entry.mtime.seconds, entry.mtime.nanos, path);
    } finally {
      closeSync(fd);
    }
  }

  /** Sets the times of directories; then everything is synced. */
  async finish(): Promise<SinkResult> {
    for (const [path, { seconds, nanos }] of this.#directories) {
      if (this.#tree.isDirectory(path)) lutimes(this.#tree.absolute(path), seconds, nanos);
    }
    syncDirectory(this.#root);
    const result = {
      bytes: this.#bytes,
      inodes: this.#inodes + this.#tree.made,
      fixups: { impliedDirectories: this.#tree.implied(), foreignLinks: this.#foreignLinks.filter(({ path }) => this.#tree.isFree(path)) },
    };
    this.#free();
    return result;
  }

  /** Closes what an exception left open. */
  abandon(): void {
    if (this.#file !== undefined) closeSync(this.#file.fd);
    this.#file = undefined;
    this.#free();
  }

  #free(): void {
    this.#tree.free();
    this.#directories.clear();
    this.#foreignLinks.length = 0;
  }

  /** A new file. What has its name goes: as a rule nothing has, so that is not looked at before. */
  #create(path: string, absolute: Buffer): number {
    const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW;
    try {
      return openSync(absolute, flags, 0o600);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
      this.#tree.clear(path);
      return openSync(absolute, flags, 0o600);
    }
  }

  #describeRoot(entry: TarEntry): void {
    if (entry.type !== "directory") throw malformed("the root of the layer is not a directory");
    this.#tree.claim("");
    this.#attributes("", entry);
  }

  #make(entry: TarEntry, parent: string, base: string): void {
    const path = parent === "" ? base : `${parent}/${base}`;
    const { type } = entry;
    if (type === "directory") {
      this.#tree.makeDirectory(path);
      return this.#attributes(path, entry);
    }
    if (type === "link") return this.#link(entry, path);
    this.#limit.check(++this.#inodes + this.#tree.made);
    const absolute = this.#tree.absolute(path);
    if (type === "file") {
      this.#file = { fd: this.#create(path, absolute), path: absolute, entry, end: 0 };
      return;
    }
    this.#tree.clear(path);
    switch (type) {
      case "symlink":
        symlinkSync(Buffer.from(entry.linkName, "latin1"), absolute);
        break;
      case "char":
      case "block":
        mknod(absolute, (type === "char" ? S_IFCHR : S_IFBLK) | 0o600, makeDev(entry.devMajor, entry.devMinor));
        break;
      case "fifo":
        mkfifo(absolute, 0o600);
        break;
      default:
        assertNever(type, "tar entry");
    }
    lchownSync(absolute, entry.uid, entry.gid);
    if (type !== "symlink") chmodSync(absolute, entry.mode);
    setXattrs(absolute, entry);
    lutimes(absolute, entry.mtime.seconds, entry.mtime.nanos);
  }

  /** The link's target is a path from the root; a symlink at its end is linked itself, never followed. */
  #link(entry: TarEntry, path: string): void {
    const target = cleanPath(entry.linkName);
    if (target === "") throw malformed(`hard link ${JSON.stringify(entry.path)} to the root`);
    const source = this.#tree.locate(target);
    if (source !== undefined && this.#tree.isDirectory(source)) throw malformed(`hard link ${JSON.stringify(entry.path)} to a directory`);
    if (source === path) return;
    this.#tree.clear(path);
    try {
      if (source === undefined) throw Object.assign(new Error(), { code: "ENOENT" });
      linkSync(this.#tree.absolute(source), this.#tree.absolute(path));
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
      // The file is in a layer below; that is only known when this layer is committed.
      this.#names.take(path + target);
      this.#foreignLinks.push({ path, target });
    }
  }

  #attributes(path: string, entry: TarEntry): void {
    const absolute = this.#tree.absolute(path);
    lchownSync(absolute, entry.uid, entry.gid);
    chmodSync(absolute, entry.mode);
    setXattrs(absolute, entry);
    if (!this.#directories.has(path)) this.#names.take(path);
    this.#directories.set(path, entry.mtime);
  }
}

function syncDirectory(path: string): void {
  const fd = openSync(path, "r");
  try {
    syncfs(fd);
  } finally {
    closeSync(fd);
  }
}
