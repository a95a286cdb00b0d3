import { randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { CridError, isErrno } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { waitChild } from "./child.ts";
import { posixSpawn } from "./posix-spawn.ts";

/** More than these are left to a program: Node removes a tree by four turns of the thread pool for each file. */
const manyInodes = 1000;

/** Bytes and inodes on disk. */
interface Usage {
  bytes: number;
  inodes: number;
}

/**
 * Files and trees on their way out. They are out of sight at once, by a rename; their bytes are given back behind that, one after the other,
 * since a file system that trims its disk waits for it at each unlink. What is not gone yet is counted, and can be waited for. What a crash leaves
 * is removed by the next `open`.
 */
export class Trash {
  readonly #directory: string;
  readonly #log: Logger;
  readonly #pending: Usage = { bytes: 0, inodes: 0 };
  #waiting = 0;
  #tail: Promise<void> = Promise.resolve();

  private constructor(options: { directory: string; log: Logger }) {
    this.#directory = options.directory;
    this.#log = options.log;
  }

  /** @param options.directory on the file system of what it will take; nothing else is in it */
  static async open(options: { directory: string; log: Logger }): Promise<Trash> {
    await mkdir(options.directory, { recursive: true, mode: 0o700 });
    const trash = new Trash(options);
    for (const name of await readdir(options.directory)) trash.#remove(join(options.directory, name), { bytes: 0, inodes: 0 });
    return trash;
  }

  /** What is not gone yet. */
  get pending(): Usage {
    return { ...this.#pending };
  }

  /** Takes a file or a tree out of sight. A no-op when it isn't there. @param usage what it takes on disk */
  async take(path: string, usage: Usage): Promise<void> {
    const grave = join(this.#directory, randomUUID());
    try {
      await rename(path, grave);
    } catch (error) {
      if (isErrno(error, "ENOENT")) return;
      throw CridError.from(error, `remove ${path}`);
    }
    this.#remove(grave, usage);
  }

  /** Waits until all that was taken so far is gone, or for so long. */
  async settled(o: { timeoutMs: number }): Promise<void> {
    if (this.#waiting === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, o.timeoutMs);
    await Promise.race([this.#tail, promise]);
    clearTimeout(timer);
  }

  #remove(path: string, usage: Usage): void {
    this.#count(usage, 1);
    this.#tail = this.#tail
      .then(() => (usage.inodes > manyInodes ? removeTree(path) : undefined))
      .then(() => rm(path, { recursive: true, force: true }))
      .catch((error: unknown) => this.#log.warn({ path, err: error }, "what was removed still takes room; the next start tries again"))
      .finally(() => this.#count(usage, -1));
  }

  #count({ bytes, inodes }: Usage, sign: 1 | -1): void {
    this.#waiting += sign;
    this.#pending.bytes += sign * bytes;
    this.#pending.inodes += sign * inodes;
  }
}

/** Removes what it can of a big tree. Where there is no rm(1), that is nothing. */
async function removeTree(path: string): Promise<void> {
  let pid: number;
  try {
    pid = posixSpawn({ file: "rm", argv: ["rm", "-rf", "--", path], env: {}, fds: ["null", "null", "null"] });
  } catch {
    return;
  }
  await waitChild(pid);
}
