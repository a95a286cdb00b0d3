import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, readSync, type Stats } from "node:fs";
import { join } from "node:path";
import { CridError, isErrno } from "../base/errors.ts";
import { lgetxattr } from "../linux/xattr.ts";
import type { RootfsMount } from "../snapshot/snapshotter.ts";

const MAX_LINKS = 40;

/**
 * Reads single files of a root file system that is not mounted, from the layers it is made of: a container's user is looked up before the shim
 * mounts anything. Links are followed as inside the container, never out of a layer; whiteouts and opaque directories hide what lies below
 * (overlayfs.rst, "whiteouts and opaque directories").
 */
export class RootfsFiles {
  readonly #layers: readonly string[];

  /** @param layers directories, topmost first */
  constructor(layers: readonly string[]) {
    this.#layers = layers;
  }

  /** @throws unimplemented for a mount that is neither an overlay nor a bind */
  static of(mounts: readonly RootfsMount[]): RootfsFiles {
    const [mount] = mounts;
    if (mounts.length === 1 && mount?.type === "bind") return new RootfsFiles([mount.source]);
    const option = (name: string): string[] =>
      mount?.options.filter((text) => text.startsWith(`${name}=`)).flatMap((text) => text.slice(name.length + 1).split(":")) ?? [];
    const lowers = option("lowerdir");
    if (mounts.length !== 1 || mount?.type !== "overlay" || lowers.length === 0) {
      throw new CridError("unimplemented", `read files of a root file system mounted as ${mounts.map(({ type }) => type).join(" + ")}`);
    }
    return new RootfsFiles([...option("upperdir"), ...lowers]);
  }

  /**
   * The content of a regular file; undefined when there is none at the path.
   *
   * @throws resource-exhausted when it is larger than `maxBytes`
   */
  read(path: string, maxBytes = 1 << 20): Buffer | undefined {
    const real = this.#resolve(path);
    if (real === undefined || !lstatSync(real).isFile()) return undefined;
    const fd = openSync(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const { size } = fstatSync(fd);
      if (size > maxBytes) throw new CridError("resource-exhausted", `${path} of the image has ${size} bytes, more than ${maxBytes}`);
      const buffer = Buffer.alloc(size);
      let length = 0;
      for (let n = -1; length < size && n !== 0; length += n) n = readSync(fd, buffer, length, size - length, null);
      return buffer.subarray(0, length);
    } finally {
      closeSync(fd);
    }
  }

  /** Where the path lies on the host; undefined when it does not exist. */
  #resolve(path: string): string | undefined {
    const pending = path.split("/").reverse();
    // Each directory entered so far, with the layers that make it up.
    const stack: { name: string; layers: readonly string[] }[] = [];
    const here = (): readonly string[] => stack.at(-1)?.layers ?? this.#layers;
    let links = 0;
    while (pending.length > 0) {
      const name = pending.pop() ?? "";
      if (name === "" || name === ".") continue;
      if (name === "..") {
        stack.pop();
        continue;
      }
      const found = lookUp(here(), name);
      if (found === undefined) return undefined;
      if (found.stats.isSymbolicLink()) {
        if (++links > MAX_LINKS) return undefined;
        const target = readlinkSync(found.path);
        if (target.startsWith("/")) stack.length = 0;
        pending.push(...target.split("/").reverse());
      } else if (found.stats.isDirectory()) {
        stack.push({ name, layers: found.layers });
      } else {
        return pending.every((rest) => rest === "" || rest === ".") ? found.path : undefined;
      }
    }
    return here()[0];
  }
}

interface Found {
  path: string;
  stats: Stats;
  /** For a directory: itself in every layer that adds to it, topmost first. */
  layers: string[];
}

/** One name in a merged directory. */
function lookUp(directories: readonly string[], name: string): Found | undefined {
  let found: Found | undefined;
  for (const directory of directories) {
    const path = join(directory, name);
    const stats = lstatOrUndefined(path);
    if (stats === undefined) continue;
    // A whiteout: a character device 0/0.
    if (stats.isCharacterDevice() && stats.rdev === 0) break;
    if (!stats.isDirectory()) {
      found ??= { path, stats, layers: [] };
      break;
    }
    found ??= { path, stats, layers: [] };
    found.layers.push(path);
    if (lgetxattr(path, "trusted.overlay.opaque")?.toString() === "y") break;
  }
  return found;
}

function lstatOrUndefined(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ENOTDIR")) return undefined;
    throw error;
  }
}
