import { LayerUnpacker } from "../../archive/layer-unpacker.ts";
import { createLogger } from "../../base/log.ts";
import { pathsOf } from "../../compose/paths.ts";
import { loadConfig } from "../../config/load.ts";
import { ContentStore } from "../../content/content-store.ts";
import { Images } from "../../image/images.ts";
import { Registry } from "../../registry/registry.ts";
import { openSnapshotter } from "../../snapshot/open-snapshotter.ts";
import { Store } from "../../store/store.ts";

/**
 * Makes lost image records anew without a daemon. Takes the lock of the root.
 * @throws failed-precondition when a daemon has the root
 */
export async function rebuildOffline(
  configFile: string | undefined,
): Promise<{ restored: { id: string; tags: string[] }[]; skipped: { what: string; why: string }[] }> {
  const config = loadConfig(configFile === undefined ? {} : { file: configFile });
  const log = createLogger({ level: "warn", format: "text" });
  const paths = pathsOf(config);
  await using stack = new AsyncDisposableStack();
  const store = stack.use(Store.open({ path: paths.database, lockPath: paths.lock, log }));
  const unpacker = stack.use(new LayerUnpacker({ gunzip: config.image.gunzip }));
  const registry = stack.use(new Registry({ config: config.registry, progressTimeoutMs: config.image.pullProgressTimeout, log }));
  const images = new Images({
    table: store.images,
    transaction: (run) => store.transaction(run),
    syncTable: () => store.sync(),
    content: await ContentStore.open({ root: paths.content, log }),
    snapshotter: await openSnapshotter({ root: paths.snapshots, mounts: paths.layerMounts, choice: config.image.snapshotter, log }),
    registry,
    unpacker,
    leasesDir: paths.leases,
    recordsDir: paths.imageRecords,
    volumesDir: paths.volumes,
    maxConcurrentDownloads: config.image.maxConcurrentDownloads,
    discardUnpackedLayers: config.image.discardUnpackedLayers,
    pinned: config.image.pinned,
    scrubFile: paths.scrub,
    scrubRate: config.image.scrubRate,
    log,
  });
  const { restored, skipped } = await images.rebuild({ signal: new AbortController().signal });
  await images.stop();
  return { restored: restored.map(({ id, repoTags }) => ({ id, tags: repoTags })), skipped };
}
