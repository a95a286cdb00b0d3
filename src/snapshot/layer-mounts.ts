import { mkdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { isErrno } from "../base/errors.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import { detachAll, MS_RDONLY, mount } from "../linux/mount.ts";
import { readMountinfo } from "../linux/mountinfo.ts";

/**
 * EROFS images, each mounted read-only while at least one root file system uses it. The mounts outlive the daemon, as the
 * containers do; `adopt` finds them again.
 */
export class LayerMounts {
  readonly #directory: string;
  /** Who uses each mount, by its name. */
  readonly #users = new Map<string, Set<string>>();
  readonly #mutex = new KeyedMutex();

  /** @param directory where the mount points are; gone at reboot, and short, as paths below it stand in mount options */
  constructor(directory: string) {
    this.#directory = directory;
  }

  path(name: string): string {
    return join(this.#directory, name);
  }

  /** Mounts the image unless it is; idempotent for a user. Answers the mount point. */
  async acquire(user: string, name: string, image: string): Promise<string> {
    using _ = await this.#mutex.acquire(name);
    const path = this.path(name);
    const users = this.#users.get(name) ?? new Set();
    if (users.size === 0) {
      await mkdir(path, { recursive: true, mode: 0o711 });
      mount(image, path, "erofs", MS_RDONLY);
      this.#users.set(name, users);
    }
    users.add(user);
    return path;
  }

  /** Gives up the user's hold; the last one unmounts. Idempotent. */
  async release(user: string, name: string): Promise<void> {
    using _ = await this.#mutex.acquire(name);
    const users = this.#users.get(name);
    if (users?.delete(user) !== true || users.size > 0) return;
    this.#users.delete(name);
    await this.#unmount(name);
  }

  /** After a restart: takes over mounts that are there for these users, and unmounts the others. */
  async adopt(holds: Iterable<{ user: string; name: string }>): Promise<void> {
    const mounted = new Set<string>();
    for (const { mountPoint } of await readMountinfo()) {
      const name = mountPoint.startsWith(`${this.#directory}/`) ? mountPoint.slice(this.#directory.length + 1) : "";
      // Deeper down are mounts of others.
      if (name !== "" && !name.includes("/")) mounted.add(name);
    }
    for (const { user, name } of holds) {
      if (!mounted.has(name)) continue;
      const users = this.#users.get(name) ?? new Set();
      this.#users.set(name, users.add(user));
    }
    for (const name of mounted) if (!this.#users.has(name)) await this.#unmount(name);
  }

  async #unmount(name: string): Promise<void> {
    const path = this.path(name);
    detachAll(path);
    try {
      await rmdir(path);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
    }
  }
}
