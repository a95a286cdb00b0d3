import { constants } from "node:fs";
import { mkdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { CridError, isErrno } from "../base/errors.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import { closeFd, openFd } from "../linux/files.ts";
import { detachAll } from "../linux/mount.ts";
import { MOUNT_ATTR_IDMAP, MOUNT_ATTR_RDONLY, mountSetattr, moveMount, openTree } from "../linux/mount-api.ts";
import { mountOverlay } from "../linux/mount-overlay.ts";
import { readMountinfo } from "../linux/mountinfo.ts";
import { overlayOptions } from "./overlay-mounts.ts";

interface OverlayParts {
  /** Directories, lowest first; at least one. */
  lowers: readonly string[];
  /** The directory that holds `fs` (upper) and `work`; undefined = read-only. */
  writable: string | undefined;
}

interface IdmappedOptions extends OverlayParts {
  /** A user namespace with the wanted maps: /proc/PID/ns/user. */
  userns: string;
}

/**
 * Root file systems that are mounted by us, one for each key, and that the shim binds. Those of pods with user namespaces: overlays on layers that are
 * seen through the pod's id maps (mount_setattr(2), MOUNT_ATTR_IDMAP), as an overlay itself cannot be seen so. And those of images of more layers than
 * the one page of options of the shim's mount call has room for.
 *
 * The maps are those of a user namespace that exists: the pod's own, through its pause process. Shims from 2.0 would do the same for
 * us, but those before not, and for image volumes there is no shim.
 *
 * The mounts outlive the daemon; `sweep` finds them again.
 */
export class IdmappedMounts {
  readonly #directory: string;
  readonly #mutex = new KeyedMutex();

  /** @param directory where the mount points are; gone at reboot */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Mounts and answers where; again the same place when it is mounted already. @throws not-found when the namespace is gone */
  async mount(key: string, options: IdmappedOptions): Promise<string> {
    using _ = await this.#mutex.acquire(key);
    const target = this.#path(key);
    if (await isMounted(target)) return target;
    const layers = join(this.#directory, `${key}.layers`);
    const userns = openUserns(options.userns);
    try {
      await mkdir(target, { recursive: true, mode: 0o711 });
      const [only] = options.lowers;
      if (options.lowers.length === 1 && only !== undefined && options.writable === undefined) {
        mapTree(only, target, userns, MOUNT_ATTR_RDONLY);
        return target;
      }
      const points = options.lowers.map((_, index) => join(layers, String(index)));
      for (const [index, point] of points.entries()) {
        await mkdir(point, { recursive: true, mode: 0o711 });
        mapTree(options.lowers[index] ?? "", point, userns);
      }
      mountOverlay(target, overlayOptions({ lowers: points, writable: options.writable }), { readonly: options.writable === undefined });
    } catch (error) {
      await unmount(target);
      throw CridError.from(error, `mount ${key} through the maps of ${options.userns}`);
    } finally {
      closeFd(userns);
      // The overlay holds its layers itself.
      await dropLayers(layers, options.lowers.length);
    }
    return target;
  }

  /** As `mount`, without maps. */
  async mountPlain(key: string, parts: OverlayParts): Promise<string> {
    using _ = await this.#mutex.acquire(key);
    const target = this.#path(key);
    if (await isMounted(target)) return target;
    try {
      await mkdir(target, { recursive: true, mode: 0o711 });
      mountOverlay(target, overlayOptions(parts), { readonly: parts.writable === undefined });
    } catch (error) {
      await unmount(target);
      throw CridError.from(error, `mount ${key}, an overlay of ${parts.lowers.length} layers`);
    }
    return target;
  }

  /** Idempotent. */
  async release(key: string): Promise<void> {
    using _ = await this.#mutex.acquire(key);
    await unmount(this.#path(key));
  }

  /** After a restart: unmounts what belongs to no key that is still wanted, and what an interrupted `mount` left. */
  async sweep(wanted: (key: string) => boolean): Promise<void> {
    const inside = `${this.#directory}/`;
    for (const { mountPoint } of await readMountinfo()) {
      if (!mountPoint.startsWith(inside)) continue;
      const [key = "", ...below] = mountPoint.slice(inside.length).split("/");
      if (below.length > 0 || !wanted(key)) await unmount(mountPoint);
      if (below.length > 0) await rm(join(this.#directory, key), { recursive: true, force: true });
    }
  }

  #path(key: string): string {
    return join(this.#directory, key);
  }
}

function openUserns(path: string): number {
  try {
    return openFd(path, constants.O_RDONLY);
  } catch (error) {
    if (!isErrno(error, "ENOENT") && !isErrno(error, "ESRCH")) throw error;
    throw new CridError("not-found", `user namespace ${path}: its process is gone`, { cause: error });
  }
}

/** Mounts a directory at `target` with the owners of its files seen through the maps of a user namespace. */
function mapTree(source: string, target: string, usernsFd: number, set = 0n): void {
  const tree = openTree(source);
  try {
    setMaps(tree, source, usernsFd, set);
    moveMount(tree, target);
  } finally {
    closeFd(tree);
  }
}

function setMaps(tree: number, source: string, usernsFd: number, set: bigint): void {
  try {
    mountSetattr(tree, { set: MOUNT_ATTR_IDMAP | set, usernsFd });
  } catch (error) {
    if (!isErrno(error, "EINVAL")) throw error;
    throw new CridError("failed-precondition", `the file system of ${source} cannot be seen through id maps with this kernel`, {
      cause: error,
    });
  }
}

async function dropLayers(directory: string, count: number): Promise<void> {
  for (let index = 0; index < count; index++) await unmount(join(directory, String(index)));
  await removeDirectory(directory);
}

async function unmount(path: string): Promise<void> {
  detachAll(path);
  await removeDirectory(path);
}

async function removeDirectory(path: string): Promise<void> {
  try {
    await rmdir(path);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

async function isMounted(path: string): Promise<boolean> {
  return (await readMountinfo()).some(({ mountPoint }) => mountPoint === path);
}
