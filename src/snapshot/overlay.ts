import { randomUUID } from "node:crypto";
import type { Dirent } from "node:fs";
import { chmod, chown, mkdir, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Summer } from "../archive/summer.ts";
import type { UnpackResult } from "../archive/unpack-job.ts";
import { syncDirectory } from "../base/durable.ts";
import { CridError, isErrno } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import type { Logger } from "../base/log.ts";
import { Trash } from "../linux/trash.ts";
import { diskUsage } from "./disk-usage.ts";
import { IdmappedMounts } from "./idmapped-mounts.ts";
import { checkLayerForm } from "./layer-check.ts";
import { applyFixups } from "./layer-fixups.ts";
import { LayerMounts } from "./layer-mounts.ts";
import { layerDirectory } from "./layer-name.ts";
import { readSum, verifyLayerSum } from "./layer-sum.ts";
import { DirectoryView, ErofsView, type LayerView } from "./layer-view.ts";
import { overlayMounts } from "./overlay-mounts.ts";
import type { DiskUsage, LayerForm, LayerStage, PrepareOptions, RootfsMount, Snapshotter } from "./snapshotter.ts";

/** What a layer is called in its directory. */
const fileOf: Record<LayerForm, string> = { directory: "fs", erofs: "layer.erofs" };
/** The shim's mount call takes a page of options, 30 bytes a layer once it has left out what all their paths begin with; some 130 then. */
const maxShimLowers = 110;

/** What stands beside a layer's `fs`: enough to rebuild the store's records from. */
interface LayerInfo {
  chainId: string;
  parents: string[];
  form: LayerForm;
  bytes: number;
  inodes: number;
}

export interface OverlayOptions {
  root: string;
  /** Where EROFS layers are mounted: gone at reboot, and short. */
  mounts: string;
  /** The usual form of new layers; those of the other form stay in use. */
  form: LayerForm;
  log: Logger;
}

/** What stands beside the writable part of a root file system. */
interface RootfsInfo {
  chainIds: string[];
  options: PrepareOptions;
}

/**
 * Layers as directories or EROFS images, lower ones of an overlay.
 *
 * ```
 * layers/<short chain id>/layer.json, and fs/ or layer.erofs   committed, never changed again; later layer.sum beside them
 * staging/<uuid>/...                     being unpacked; swept at start
 * removed/<uuid>/...                     out of sight; its bytes are given back a little later, by the next start if need be
 * rootfs/<key>/fs, work, rootfs.json     the writable part of a container
 * ```
 *
 * EROFS images are mounted below `mounts` while a container uses them, root file systems of user namespaces and of very many layers
 * below `mounts`/idmapped.
 *
 * The order of writes of a commit: the files of a directory are synced by the unpacker; layer.json and an image file are synced
 * side by side, which need not wait for the layers below; the fixups sync what they touch; the staging directory is renamed to its name; `layers` is synced. A cut
 * before the rename leaves an unnamed staging directory, one after it the whole layer.
 */
export class OverlaySnapshotter implements Snapshotter {
  readonly name: "overlayfs" | "erofs";
  readonly root: string;
  readonly #form: LayerForm;
  readonly #mounts: LayerMounts;
  readonly #idmapped: IdmappedMounts;
  readonly #trash: Trash;
  readonly #log: Logger;
  readonly #layers = new Map<string, LayerInfo>();
  readonly #rootfs = new Map<string, RootfsInfo>();

  private constructor(options: OverlayOptions, trash: Trash) {
    this.root = options.root;
    this.#trash = trash;
    this.#form = options.form;
    this.name = options.form === "erofs" ? "erofs" : "overlayfs";
    this.#mounts = new LayerMounts(options.mounts);
    this.#idmapped = new IdmappedMounts(join(options.mounts, "idmapped"));
    this.#log = options.log;
  }

  /** Reads what is there and sweeps what an earlier daemon left half done. */
  static async open(options: OverlayOptions): Promise<OverlaySnapshotter> {
    const trash = await Trash.open({ directory: join(options.root, "removed"), log: options.log });
    const snapshotter = new OverlaySnapshotter(options, trash);
    for (const part of ["layers", "staging", "rootfs"]) await mkdir(join(options.root, part), { recursive: true, mode: 0o711 });
    await snapshotter.#sweepStaging();
    await snapshotter.#load();
    await snapshotter.#idmapped.sweep((key) => snapshotter.#rootfs.has(key));
    await snapshotter.#mounts.adopt(snapshotter.#holds());
    return snapshotter;
  }

  hasLayer(chainId: string): boolean {
    return this.#layers.has(chainId);
  }

  layers(): string[] {
    return [...this.#layers.keys()];
  }

  layerUsage(chainId: string): DiskUsage {
    const { bytes, inodes } = this.#layer(chainId);
    return { bytes, inodes };
  }

  async checkLayer(chainId: string): Promise<string | undefined> {
    const { form, bytes, inodes } = this.#layer(chainId);
    return checkLayerForm(join(this.#layerPath(chainId), fileOf[form]), { form, bytes, inodes });
  }

  async verifyLayer(chainId: string, summer: Pick<Summer, "sum">, o: { signal: AbortSignal }): Promise<string | undefined> {
    const { form } = this.#layer(chainId);
    const directory = this.#layerPath(chainId);
    const quick = await this.checkLayer(chainId);
    if (quick !== undefined) return quick;
    return verifyLayerSum({ directory, path: join(directory, fileOf[form]), form }, summer, o);
  }

  async isSummed(chainId: string): Promise<boolean> {
    return (await readSum(this.#layerPath(chainId))) !== undefined;
  }

  async beginLayer(chainId: string, parents: readonly string[], form: LayerForm = this.#form): Promise<LayerStage> {
    const staging = this.#stagingPath();
    const path = join(staging, fileOf[form]);
    await mkdir(form === "directory" ? path : staging, { recursive: true, mode: 0o755 });
    if (form === "directory") await chmod(path, 0o755);
    const target = { kind: form, path };
    const infoOf = ({ bytes, inodes }: UnpackResult): LayerInfo => ({ chainId, parents: [...parents], form, bytes, inodes });
    let sealed: Promise<void> | undefined;
    const seal = (result: UnpackResult): Promise<void> => {
      sealed ??= Promise.all([
        writeSynced(join(staging, "layer.json"), JSON.stringify(infoOf(result))),
        ...(form === "erofs" ? [syncFile(path)] : []),
      ]).then(() => undefined);
      return sealed;
    };
    return {
      target,
      seal,
      commit: async (result, { onVisible } = {}) => {
        await seal(result);
        await this.#commit(staging, target, infoOf(result), result, onVisible);
      },
      abort: () => rm(staging, { recursive: true, force: true }),
    };
  }

  async removeLayer(chainId: string): Promise<void> {
    const layer = this.#layers.get(chainId);
    if (layer === undefined) return;
    this.#layers.delete(chainId);
    await failpoint("snapshot.remove-layer.before-rename");
    await this.#trash.take(this.#layerPath(chainId), layer);
  }

  async settled(o: { timeoutMs: number }): Promise<void> {
    await this.#trash.settled(o);
  }

  async prepare(key: string, chainIds: readonly string[], options: PrepareOptions = {}): Promise<RootfsMount[]> {
    for (const chainId of chainIds) this.#layer(chainId);
    const path = join(this.root, "rootfs", key);
    if (!this.#rootfs.has(key)) {
      await mkdir(path, { recursive: true, mode: 0o711 });
      if (options.readonly !== true) await this.#makeWritable(path, chainIds, options);
      const info: RootfsInfo = { chainIds: [...chainIds], options };
      await writeFile(join(path, "rootfs.json"), JSON.stringify(info));
      this.#rootfs.set(key, info);
    }
    const lowers: string[] = [];
    // All of them have come to their end before `remove` may be called after a failure.
    for (const lower of await Promise.allSettled(chainIds.map((chainId) => this.#lower(key, this.#layer(chainId))))) {
      if (lower.status === "rejected") throw lower.reason;
      lowers.push(lower.value);
    }
    if (lowers.length === 0) {
      lowers.push(join(path, "empty"));
      await mkdir(join(path, "empty"), { recursive: true, mode: 0o755 });
    }
    const writable = options.readonly === true ? undefined : path;
    if (options.idmap === undefined && lowers.length <= maxShimLowers) return overlayMounts({ lowers, writable });
    const mounted =
      options.idmap === undefined
        ? await this.#idmapped.mountPlain(key, { lowers, writable })
        : await this.#idmapped.mount(key, { lowers, writable, userns: options.idmap.userns });
    return [{ type: "bind", source: mounted, target: "", options: ["rbind", writable === undefined ? "ro" : "rw"] }];
  }

  async remove(key: string): Promise<void> {
    const chainIds = this.#rootfs.get(key)?.chainIds ?? [];
    this.#rootfs.delete(key);
    await this.#idmapped.release(key);
    for (const chainId of chainIds) await this.#mounts.release(key, layerDirectory(chainId));
    await this.#discard(join(this.root, "rootfs", key));
  }

  async usage(key: string): Promise<DiskUsage> {
    const info = this.#rootfs.get(key);
    if (info === undefined) throw new CridError("not-found", `usage of snapshot ${key}: no such snapshot`);
    return info.options.readonly === true ? { bytes: 0, inodes: 0 } : diskUsage(join(this.root, "rootfs", key, "fs"));
  }

  keys(): string[] {
    return [...this.#rootfs.keys()];
  }

  chainIdsOf(key: string): readonly string[] {
    return this.#rootfs.get(key)?.chainIds ?? [];
  }

  async usageTotal(): Promise<DiskUsage> {
    const total = this.#trash.pending;
    const add = (usage: DiskUsage): void => {
      total.bytes += usage.bytes;
      total.inodes += usage.inodes;
    };
    for (const layer of this.#layers.values()) add(layer);
    for (const key of this.keys()) {
      // A container may go while we walk.
      if (this.#rootfs.has(key)) add(await this.usage(key).catch(() => ({ bytes: 0, inodes: 0 })));
    }
    return total;
  }

  #layer(chainId: string): LayerInfo {
    const layer = this.#layers.get(chainId);
    if (layer === undefined) throw new CridError("not-found", `layer ${chainId} is not in ${this.root}; pull the image again`);
    return layer;
  }

  async #commit(
    staging: string,
    target: LayerStage["target"],
    info: LayerInfo,
    result: UnpackResult,
    onVisible: (() => void) | undefined,
  ): Promise<void> {
    if (!this.#layers.has(info.chainId)) {
      const parents = info.parents.map((parent) => this.#view(this.#layer(parent)));
      try {
        await applyFixups(target, parents, result.fixups);
      } finally {
        for (const parent of parents) parent[Symbol.dispose]();
      }
      await failpoint("snapshot.commit.before-rename");
      await this.#place(staging, info.chainId);
      this.#layers.set(info.chainId, info);
      onVisible?.();
      await failpoint("snapshot.commit.before-sync");
      await syncDirectory(join(this.root, "layers"));
    }
    await rm(staging, { recursive: true, force: true });
  }

  #view({ chainId, form }: LayerInfo): LayerView {
    const path = join(this.#layerPath(chainId), fileOf[form]);
    return form === "erofs" ? new ErofsView(path) : new DirectoryView(path);
  }

  /** The directory that stands for a layer in the mount of `key`. */
  async #lower(key: string, { chainId, form }: LayerInfo): Promise<string> {
    const path = join(this.#layerPath(chainId), fileOf[form]);
    return form === "erofs" ? this.#mounts.acquire(key, layerDirectory(chainId), path) : path;
  }

  *#holds(): Generator<{ user: string; name: string }> {
    for (const [user, { chainIds }] of this.#rootfs) for (const chainId of chainIds) yield { user, name: layerDirectory(chainId) };
  }

  async #place(staging: string, chainId: string): Promise<void> {
    const target = this.#layerPath(chainId);
    try {
      await rename(staging, target);
    } catch (error) {
      if (!isErrno(error, "ENOTEMPTY") && !isErrno(error, "EEXIST")) throw error;
      // A directory without a readable layer.json, see #load: it is no layer, ours takes its place.
      await this.#discard(target);
      await rename(staging, target);
    }
  }

  /** The overlay's root shows the owner and mode of its upper directory, so that takes those of the topmost layer. */
  async #makeWritable(path: string, chainIds: readonly string[], options: PrepareOptions): Promise<void> {
    const upper = join(path, "fs");
    await mkdir(upper, { recursive: true, mode: 0o755 });
    await mkdir(join(path, "work"), { recursive: true, mode: 0o711 });
    const top = chainIds.at(-1);
    const like = top === undefined ? { uid: 0, gid: 0, mode: 0o755 } : await this.#rootOf(top);
    await chown(upper, toHost(like.uid, options.idmap?.uids), toHost(like.gid, options.idmap?.gids));
    await chmod(upper, like.mode & 0o7777);
  }

  async #rootOf(chainId: string): Promise<{ uid: number; gid: number; mode: number }> {
    using view = this.#view(this.#layer(chainId));
    const answer = await view.find([]);
    if (answer.kind !== "found")
      throw new CridError("data-loss", `layer ${chainId} has no root directory; remove its image and pull it again`);
    return answer.file;
  }

  /** Out of sight first, in one step; then gone. */
  async #discard(path: string): Promise<void> {
    const grave = this.#stagingPath();
    try {
      await rename(path, grave);
    } catch (error) {
      if (isErrno(error, "ENOENT")) return;
      throw error;
    }
    await rm(grave, { recursive: true, force: true });
  }

  async #sweepStaging(): Promise<void> {
    for (const name of await readdir(join(this.root, "staging"))) {
      this.#log.info({ name }, "sweep a layer that was being unpacked or removed when the daemon stopped");
      await rm(join(this.root, "staging", name), { recursive: true, force: true });
    }
  }

  async #load(): Promise<void> {
    await this.#loadPart<LayerInfo>("layers", "layer.json", (info) => this.#layers.set(info.chainId, info));
    await this.#loadPart<RootfsInfo>("rootfs", "rootfs.json", (info, name) => this.#rootfs.set(name, info));
  }

  async #loadPart<T>(part: string, file: string, add: (info: T, name: string) => void): Promise<void> {
    const entries: Dirent[] = await readdir(join(this.root, part), { withFileTypes: true });
    await Promise.all(
      entries.map(async ({ name }) => {
        try {
          add(JSON.parse(await readFile(join(this.root, part, name, file), "utf8")) as T, name);
        } catch (error) {
          this.#log.warn({ part, name, err: error }, "unreadable snapshot; it is removed");
          await this.#discard(join(this.root, part, name));
        }
      }),
    );
  }

  #layerPath(chainId: string): string {
    return join(this.root, "layers", layerDirectory(chainId));
  }

  #stagingPath(): string {
    return join(this.root, "staging", randomUUID());
  }
}

function toHost(id: number, maps: readonly { hostId: number; containerId: number; length: number }[] | undefined): number {
  const map = maps?.find(({ containerId, length }) => id >= containerId && id < containerId + length);
  return map === undefined ? id : map.hostId + (id - map.containerId);
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFile(path: string): Promise<void> {
  await using file = await open(path, "r");
  await file.sync();
}
