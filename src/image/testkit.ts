import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LayerUnpacker } from "../archive/layer-unpacker.ts";
import { silentLogger } from "../base/log.ts";
import { ContentStore } from "../content/content-store.ts";
import type { RegistryConfig } from "../registry/options.ts";
import { Registry } from "../registry/registry.ts";
import { OverlaySnapshotter } from "../snapshot/overlay.ts";
import type { LayerForm } from "../snapshot/snapshotter.ts";
import { Store } from "../store/store.ts";
import { Images } from "./images.ts";
import type { ImagesOptions } from "./images-options.ts";

/** Everything that a daemon puts around Images, real, in a folder of its own. */
export interface ImageNode extends AsyncDisposable {
  root: string;
  images: Images;
  content: ContentStore;
  snapshotter: OverlaySnapshotter;
  registry: Registry;
  /** Names of everything on disk: blobs, partial blobs, layers, staging, leases. */
  left(): Promise<Record<string, number>>;
  /** Stops this one without cleaning up (`crash`: not in order, as far as the store is told), does something, and starts another on the same folder. */
  /** Stops this one and leaves everything on disk. */
  stop(): Promise<void>;
  restart(options?: Partial<ImagesOptions>, between?: () => Promise<void>, o?: { start: boolean; crash?: boolean }): Promise<ImageNode>;
}

export async function startNode(
  o: {
    root?: string;
    registry?: Partial<RegistryConfig>;
    progressTimeoutMs?: number;
    form?: LayerForm;
    images?: Partial<ImagesOptions>;
    /** False: Images.start is not called. */
    start?: boolean;
  } = {},
): Promise<ImageNode> {
  const root = o.root ?? (await mkdtemp(join(tmpdir(), "crid-images-")));
  const log = silentLogger();
  const store = Store.open({ path: join(root, "meta.db"), lockPath: join(root, "lock"), log });
  const content = await ContentStore.open({ root: join(root, "content"), log });
  const snapshotter = await OverlaySnapshotter.open({
    root: join(root, "snapshots"),
    mounts: join(root, "mounts"),
    form: o.form ?? "directory",
    log,
  });
  const unpacker = new LayerUnpacker({ threads: 2 });
  const registry = new Registry({
    config: { configPath: [], mirrors: {}, ...o.registry },
    progressTimeoutMs: o.progressTimeoutMs ?? 60_000,
    log,
    env: {},
  });
  const images = new Images({
    table: store.images,
    transaction: (run) => store.transaction(run),
    syncTable: () => store.sync(),
    content,
    registry,
    snapshotter,
    unpacker,
    leasesDir: join(root, "content/leases"),
    recordsDir: join(root, "content/images"),
    volumesDir: join(root, "volumes"),
    maxConcurrentDownloads: 6,
    discardUnpackedLayers: false,
    pinned: [],
    scrubFile: join(root, "content/scrub"),
    scrubRate: 0,
    log,
    ...o.images,
  });
  if (o.start !== false) await images.start({ unclean: store.beginRun() });
  const stop = async ({ crash = false } = {}): Promise<void> => {
    await images.stop();
    await unpacker[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
    if (!crash) store.endRun();
    store.close();
  };
  const count = async (path: string): Promise<number> => (await readdir(join(root, path))).length;
  return {
    root,
    images,
    content,
    snapshotter,
    registry,
    left: async () => {
      await Promise.all([content.settled({ timeoutMs: 10_000 }), snapshotter.settled({ timeoutMs: 10_000 })]);
      return {
        blobs: await count("content/blobs/sha256"),
        ingests: await count("content/ingest"),
        leases: await count("content/leases"),
        layers: await count("snapshots/layers"),
        staging: (await count("snapshots/staging")) + (await count("snapshots/removed")) + (await count("content/removed")),
      };
    },
    stop: () => stop(),
    restart: async (options, between, { start, crash = false } = { start: true }) => {
      await stop({ crash });
      await between?.();
      return startNode({ ...o, root, images: { ...o.images, ...options }, start });
    },
    [Symbol.asyncDispose]: async () => {
      await stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}
