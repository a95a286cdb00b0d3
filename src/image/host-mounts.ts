import { CridError } from "../base/errors.ts";
import { readMountinfo } from "../linux/mountinfo.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { Volumes } from "./volumes.ts";

/** An image that an operator has mounted to look at it. */
export interface HostMount {
  imageId: string;
  path: string;
}

const prefix = "mount-";

/** Whether a root file system or image volume is the operator's and not a container's. */
export function isHostMountKey(key: string): boolean {
  return key.startsWith(prefix);
}

/**
 * Images mounted read-only for people, one mount an image. They survive the daemon, as containers' do, and end with a reboot; while
 * they are there, the image's layers stay.
 */
export class HostMounts {
  readonly #volumes: Volumes;
  readonly #snapshotter: Pick<Snapshotter, "keys" | "remove">;

  constructor(options: { volumes: Volumes; snapshotter: Pick<Snapshotter, "keys" | "remove"> }) {
    this.#volumes = options.volumes;
    this.#snapshotter = options.snapshotter;
  }

  /** The key of the image's mount. */
  keyOf(image: Pick<ImageRecord, "id">): string {
    return prefix + image.id.slice("sha256:".length, "sha256:".length + 32);
  }

  /** Forgets those that a reboot has ended. @returns the keys that are gone */
  async start(): Promise<string[]> {
    const keys = this.#snapshotter.keys().filter(isHostMountKey);
    if (keys.length === 0) return [];
    const mounted = new Set((await readMountinfo()).map(({ mountPoint }) => mountPoint));
    const gone = keys.filter((key) => !mounted.has(this.#volumes.path(key)));
    for (const key of gone) await this.#volumes.release(key);
    return gone;
  }

  /** @param images to find the image of a mount by; of one that was removed only the beginning of the id is known */
  async list(images: readonly ImageRecord[]): Promise<HostMount[]> {
    const byKey = new Map(images.map((image) => [this.keyOf(image), image.id]));
    const keys = (await this.#volumes.keys()).filter(isHostMountKey);
    return keys.map((key) => ({ imageId: byKey.get(key) ?? `sha256:${key.slice(prefix.length)}`, path: this.#volumes.path(key) }));
  }

  /**
   * The key of the mount that is meant by an image or by its path.
   * @throws not-found
   */
  async find(what: string, image: ImageRecord | undefined): Promise<string> {
    const keys = (await this.#volumes.keys()).filter(isHostMountKey);
    const wanted = image === undefined ? undefined : this.keyOf(image);
    const key = keys.find((candidate) => candidate === wanted || this.#volumes.path(candidate) === what.replace(/\/+$/, ""));
    if (key === undefined) throw new CridError("not-found", `unmount: ${JSON.stringify(what)} is not mounted`);
    return key;
  }
}
