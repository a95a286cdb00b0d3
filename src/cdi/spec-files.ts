import { readdir, readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { isErrno, messageOf } from "../base/errors.ts";
import { type LoadedSpec, parseCdiSpec } from "./spec.ts";

/** A file of a spec folder, read. */
export interface SpecFile {
  path: string;
  /** Of the folder: the later of two wins. */
  priority: number;
  /** Absent: `error` says why. */
  spec?: LoadedSpec;
  error?: string;
}

/** The same content has the same of this. */
interface Seen {
  identity: string;
  /** Written so shortly before it was read that a write after that may leave the same times. */
  racy: boolean;
  file: SpecFile;
}

/** Timestamps advance with the kernel's tick, at most 10 ms. */
const RACY_MS = 50;

/**
 * The spec files of all folders, looked at anew with each call, and read again where they have changed. Not watched: an event would come after
 * the container that the file was written for.
 */
export class SpecFiles {
  readonly #dirs: readonly string[];
  #seen = new Map<string, Seen>();

  constructor(dirs: readonly string[]) {
    this.#dirs = dirs;
  }

  /** In the order of folders, then of names. A folder that is missing is empty; one that cannot be read has an error of its own. */
  async read(): Promise<SpecFile[]> {
    const seen = new Map<string, Seen>();
    const perDir = await Promise.all(this.#dirs.map((dir, priority) => this.#readDir(dir, priority, seen)));
    this.#seen = seen;
    return perDir.flat();
  }

  async #readDir(dir: string, priority: number, seen: Map<string, Seen>): Promise<SpecFile[]> {
    let names: string[];
    try {
      const entries = await readdir(dir, { withFileTypes: true });
      names = entries.filter((entry) => !entry.isDirectory() && [".json", ".yaml"].includes(extname(entry.name))).map(({ name }) => name);
    } catch (error) {
      return isErrno(error, "ENOENT") ? [] : [{ path: dir, priority, error: `cannot be read: ${messageOf(error)}` }];
    }
    const files = await Promise.all(names.sort().map((name) => this.#readFile(join(dir, name), priority, seen)));
    return files.filter((file) => file !== undefined);
  }

  /** Undefined when it has gone meanwhile. */
  async #readFile(path: string, priority: number, seen: Map<string, Seen>): Promise<SpecFile | undefined> {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs, ctimeMs } = await stat(path, { bigint: true });
      const identity = [dev, ino, size, mtimeNs, ctimeNs].join();
      const before = this.#seen.get(path);
      if (before !== undefined && before.identity === identity && !before.racy) {
        seen.set(path, before);
        return before.file;
      }
      const racy = Date.now() - Number(ctimeMs) < RACY_MS;
      const file = { path, priority, ...parsed(await readFile(path, "utf8"), path) };
      seen.set(path, { identity, racy, file });
      return file;
    } catch (error) {
      return isErrno(error, "ENOENT") ? undefined : { path, priority, error: messageOf(error) };
    }
  }
}

function parsed(content: string, path: string): Pick<SpecFile, "spec" | "error"> {
  try {
    return { spec: parseCdiSpec(content, path) };
  } catch (error) {
    return { error: messageOf(error) };
  }
}
