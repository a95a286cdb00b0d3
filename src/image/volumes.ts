import { mkdir, readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { CridError, isErrno, isKind } from "../base/errors.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import { detachAll, MS_BIND, MS_REMOUNT, mount } from "../linux/mount.ts";
import { mountOverlay } from "../linux/mount-overlay.ts";
import type { PrepareOptions, RootfsMount, Snapshotter } from "../snapshot/snapshotter.ts";
import { parseMountOptions } from "./mount-options.ts";

/**
 * Images mounted on the host, read-only: one below `directory` for each key. Containers bind them, or a folder in them
 * (KEP-4639).
 */
export class Volumes {
  readonly #directory: string;
  readonly #snapshotter: Pick<Snapshotter, "prepare" | "remove">;
  readonly #mounted = new Set<string>();
  readonly #lock = new KeyedMutex();

  constructor(options: { directory: string; snapshotter: Pick<Snapshotter, "prepare" | "remove"> }) {
    this.#directory = options.directory;
    this.#snapshotter = options.snapshotter;
  }

  /** Mounts the layers under the key and returns where. Called again with the key, it returns the same place. */
  async mount(key: string, chainIds: readonly string[], options: Pick<PrepareOptions, "idmap">): Promise<string> {
    using _ = await this.#lock.acquire(key);
    const target = this.path(key);
    if (this.#mounted.has(key)) return target;
    try {
      const mounts = await this.#snapshotter.prepare(key, chainIds, { readonly: true, ...options });
      await mkdir(target, { recursive: true, mode: 0o700 });
      // What a crash has left there, maybe half made, maybe of another image.
      detachAll(target);
      for (const item of mounts) mountAt(item, target);
    } catch (error) {
      detachAll(target);
      // Nobody knows of it: who asked has an error.
      await rmdir(target).catch(() => undefined);
      await this.#snapshotter.remove(key).catch(() => undefined);
      throw isKind(error, "not-found") ? error : CridError.from(error, `mount image volume ${key}`);
    }
    this.#mounted.add(key);
    return target;
  }

  /** Unmounts and forgets. Idempotent, and knows nothing of what was mounted by an earlier process but finds it. */
  async release(key: string): Promise<void> {
    using _ = await this.#lock.acquire(key);
    const target = this.path(key);
    detachAll(target);
    this.#mounted.delete(key);
    try {
      await rmdir(target);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw CridError.from(error, `remove image volume ${key}`);
    }
    await this.#snapshotter.remove(key);
  }

  /** Keys that have a folder, mounted or not: those of an earlier process too. */
  async keys(): Promise<string[]> {
    try {
      return await readdir(this.#directory);
    } catch (error) {
      if (isErrno(error, "ENOENT")) return [];
      throw CridError.from(error, `list image volumes in ${this.#directory}`);
    }
  }

  /** Where the key is, or would be, mounted. @throws invalid-argument */
  path(key: string): string {
    // A key becomes a file name: ids of containers and a number.
    if (!/^[\w.-]+$/.test(key) || key.startsWith("."))
      throw new CridError("invalid-argument", `image volume key ${JSON.stringify(key)} is not a name`);
    return join(this.#directory, key);
  }
}

function mountAt(item: RootfsMount, target: string): void {
  const { flags, data } = parseMountOptions(item.options);
  const at = item.target === "" ? target : join(target, item.target);
  const isBind = (flags & MS_BIND) !== 0;
  if (item.type === "overlay") return mountOverlay(at, data.split(","), { readonly: true });
  mount(item.source, at, isBind ? "" : item.type, flags, data);
  // The kernel ignores all other flags while it makes a bind mount (mount(2), "Creating a bind mount").
  if (isBind) mount("none", at, "", flags | MS_REMOUNT, data);
}
