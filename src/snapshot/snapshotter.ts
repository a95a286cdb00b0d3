import type { Summer } from "../archive/summer.ts";
import type { UnpackResult, UnpackTarget } from "../archive/unpack-job.ts";
import type { IdMapping } from "../records/pod-config.ts";

/** A mount as mount(8) takes it; the shim makes it at the bundle's rootfs. */
export interface RootfsMount {
  type: string;
  source: string;
  /** Below the rootfs; "" is the rootfs itself. */
  target: string;
  options: string[];
}

/** How a layer lies on disk. Both forms can be below one container. */
export type LayerForm = UnpackTarget["kind"];

/** Bytes and inodes on disk. */
export interface DiskUsage {
  bytes: number;
  inodes: number;
}

/** A layer that is being unpacked. Nobody sees it until it is committed; an uncommitted one is swept at the next start. */
export interface LayerStage {
  /** Hand this to the unpacker. */
  readonly target: UnpackTarget;
  /** Writes down what was unpacked, and syncs. `commit` does it if nobody has; before, it need not wait for the layers below. */
  seal(result: UnpackResult): Promise<void>;
  /**
   * Makes the layer visible under its chain id, durably: after this returns, a power cut does not lose it.
   * The layer below (the chain's parent) must have been committed before. A commit of a chain id that has appeared meanwhile
   * drops this one and succeeds.
   *
   * @param options.onVisible called when the layer is there, though it might not survive a power cut yet: the next one can be committed
   */
  commit(result: UnpackResult, options?: { onVisible?: () => void }): Promise<void>;
  /** Drops what was unpacked. Idempotent; a no-op after commit. */
  abort(): Promise<void>;
}

/**
 * Layers of images by chain id, and the root file systems of containers made of them.
 *
 * A container's root file system is named by a key (the container's id). Mounting is the shim's work, but for image
 * volumes, which `image/` mounts itself.
 */
export interface Snapshotter {
  readonly name: "overlayfs" | "erofs";
  /** The directory that ImageFsInfo reports. */
  readonly root: string;
  hasLayer(chainId: string): boolean;
  /** All committed chain ids. */
  layers(): string[];
  /** What one layer takes on disk. */
  layerUsage(chainId: string): DiskUsage;
  /** What is wrong with a committed layer on disk, as far as a quick look can tell; undefined when nothing is. */
  checkLayer(chainId: string): Promise<string | undefined>;
  /**
   * The same after reading all of the layer. It is compared with what it was when it was first read so, soon after it was made: the
   * first call remembers the sum. Slow.
   */
  verifyLayer(chainId: string, summer: Pick<Summer, "sum">, o: { signal: AbortSignal }): Promise<string | undefined>;
  /** Whether the layer has been read so before. */
  isSummed(chainId: string): Promise<boolean>;
  /**
   * @param chainId the layer's chain id
   * @param parents chain ids of the layers below, lowest first
   * @param form the form to unpack into when it isn't the usual one: some layers cannot be an EROFS image (unpack says
   * failed-precondition)
   */
  beginLayer(chainId: string, parents: readonly string[], form?: LayerForm): Promise<LayerStage>;
  /** Idempotent. The caller knows that no container and no image uses it. Its bytes are given back a little later, see `settled`. */
  removeLayer(chainId: string): Promise<void>;
  /** Waits until the bytes of removed layers are given back, or for so long. */
  settled(o: { timeoutMs: number }): Promise<void>;
  /**
   * Makes the root file system `key` on the layers (chain ids, lowest first) and returns its mounts. Called again with the
   * same key it returns the same mounts.
   * @throws not-found when a layer is missing
   */
  prepare(key: string, chainIds: readonly string[], options?: PrepareOptions): Promise<RootfsMount[]>;
  /** Drops the root file system, unmounting what was mounted for it. Idempotent. */
  remove(key: string): Promise<void>;
  /** What the container wrote. @throws not-found for an unknown key */
  usage(key: string): Promise<DiskUsage>;
  /** All keys. */
  keys(): string[];
  /** The layers under a root file system, lowest first; empty for an unknown key. While it exists, they must not be removed. */
  chainIdsOf(key: string): readonly string[];
  /** All layers and all writable parts, and what was removed and is not gone yet. */
  usageTotal(): Promise<DiskUsage>;
}

export interface PrepareOptions {
  /** No writable layer. */
  readonly?: boolean;
  /** For a pod with a user namespace: the files appear owned through its maps. */
  idmap?: Idmap;
}

export interface Idmap {
  uids: readonly IdMapping[];
  gids: readonly IdMapping[];
  /** The namespace itself, which has these maps, as a path: /proc/PID/ns/user of a process in it. */
  userns: string;
}
