import { closeSync, constants, mkdirSync, openSync, readdirSync, rmSync, statSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { CridError, isErrno } from "../base/errors.ts";
import { shortId } from "../base/ids.ts";
import type { Logger } from "../base/log.ts";
import { FS_MAGIC, statfs } from "../linux/files.ts";
import { detachAll, MS_BIND, mount } from "../linux/mount.ts";
import { makeNetns } from "../linux/namespaces.ts";

export interface NetnsOptions {
  /** Where the namespaces are bound, one file each, named by sandbox id; made when missing. */
  dir: string;
  /** How many are kept ready; 0 turns the pool off. */
  poolSize: number;
  log: Logger;
}

// The pool's files begin with a dot, which no sandbox id does.
const poolPrefix = ".pool-";
// A namespace costs half a millisecond on an idle machine, but waits for the kernel's network lock while other pods are being
// made or taken down: refill only once things have been quiet for a while.
const refillDelayMs = 250;

/**
 * Network namespaces of pods: files under one directory with a namespace bound on each, loopback up. A namespace lives on
 * without any process until its file is removed, over restarts of the daemon too.
 */
export class NetnsDriver {
  readonly #dir: string;
  readonly #poolSize: number;
  readonly #log: Logger;
  readonly #pool: string[] = [];
  #next = 0;
  #adopted = false;
  #refill: NodeJS.Timeout | undefined;

  constructor(options: NetnsOptions) {
    this.#dir = options.dir;
    this.#poolSize = options.poolSize;
    this.#log = options.log;
    this.#refillSoon(0);
  }

  /** Where the sandbox's namespace is, or would be: known before it exists. */
  path(id: string): string {
    if (!/^[A-Za-z0-9][\w.-]*$/.test(id))
      throw new CridError("invalid-argument", `network namespace ${JSON.stringify(id)}: not a sandbox id`);
    return join(this.#dir, id);
  }

  /**
   * Makes the sandbox's namespace and answers its path. Taken from the pool if that has one.
   *
   * @throws CridError already-exists when the path is taken, else the errno's; nothing is left then.
   */
  async create(id: string): Promise<string> {
    const path = this.path(id);
    try {
      mkdirSync(this.#dir, { recursive: true, mode: 0o711 });
      const ready = this.#pool.pop();
      if (ready === undefined) this.#make(path);
      else this.#handOver(ready, path);
    } catch (error) {
      if (isErrno(error, "EEXIST"))
        throw new CridError("already-exists", `network namespace of sandbox ${shortId(id)}: ${path} exists`, { cause: error });
      throw CridError.from(error, `make the network namespace of sandbox ${shortId(id)}`);
    } finally {
      this.#refillSoon(refillDelayMs);
    }
    return path;
  }

  /** Takes the sandbox's namespace away; those still in it keep it until they end. Missing is a success. */
  async remove(id: string): Promise<void> {
    try {
      drop(this.path(id));
    } catch (error) {
      throw CridError.from(error, `remove the network namespace of sandbox ${shortId(id)}`);
    }
  }

  /** The ids that have a file here, also one whose namespace is gone. */
  async list(): Promise<string[]> {
    try {
      return (await readdir(this.#dir)).filter((name) => !name.startsWith("."));
    } catch (error) {
      if (isErrno(error, "ENOENT")) return [];
      throw error;
    }
  }

  /** Drops the pool. */
  async close(): Promise<void> {
    clearTimeout(this.#refill);
    this.#refill = undefined;
    for (const path of this.#pool.splice(0)) drop(path);
  }

  #make(path: string): void {
    try {
      makeNetns(path);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) drop(path);
      throw error;
    }
  }

  /** A mount cannot be renamed: the namespace is bound to its new place and then unbound from the old one. */
  #handOver(from: string, to: string): void {
    try {
      closeSync(openSync(to, constants.O_RDONLY | constants.O_CREAT | constants.O_EXCL, 0o444));
    } catch (error) {
      this.#pool.push(from);
      throw error;
    }
    try {
      mount(from, to, "", MS_BIND);
    } catch (error) {
      drop(to);
      throw error;
    } finally {
      drop(from);
    }
  }

  #refillSoon(delayMs: number): void {
    if (this.#poolSize <= 0) return;
    clearTimeout(this.#refill);
    this.#refill = setTimeout(() => this.#refillOne(), delayMs).unref();
  }

  /** One a turn of the event loop, so that requests get their turn in between. */
  #refillOne(): void {
    this.#refill = undefined;
    try {
      if (!this.#adopted) this.#adopt();
      if (this.#pool.length >= this.#poolSize) return;
      const path = join(this.#dir, `${poolPrefix}${process.pid}-${this.#next++}`);
      this.#make(path);
      this.#pool.push(path);
      this.#refill = setTimeout(() => this.#refillOne(), 1).unref();
    } catch (error) {
      // Pods are made without the pool then, and say themselves what is wrong.
      this.#log.warn({ err: error, dir: this.#dir }, "cannot make network namespaces ahead");
    }
  }

  /**
   * Takes over the pool of an earlier daemon. One that was being handed over when that daemon was killed is bound twice and
   * belongs to the sandbox: two pods must never share it.
   */
  #adopt(): void {
    this.#adopted = true;
    mkdirSync(this.#dir, { recursive: true, mode: 0o711 });
    const names = readdirSync(this.#dir);
    const taken = new Set(names.filter((name) => !name.startsWith(".")).map((name) => statSync(join(this.#dir, name)).ino));
    for (const name of names.filter((name) => name.startsWith(poolPrefix))) {
      const path = join(this.#dir, name);
      const usable = statfs(path).type === FS_MAGIC.nsfs && !taken.has(statSync(path).ino);
      if (usable && this.#pool.length < this.#poolSize) this.#pool.push(path);
      else drop(path);
    }
  }
}

function drop(path: string): void {
  detachAll(path);
  rmSync(path, { force: true });
}
