import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { CridError } from "./base/errors.ts";
import type { Logger } from "./base/log.ts";
import { makeDomain } from "./compose/domain.ts";
import { namespace, startDrivers } from "./compose/drivers.ts";
import { startEdge } from "./compose/edge.ts";
import type { DaemonOptions } from "./compose/options.ts";
import { pathsOf } from "./compose/paths.ts";
import { startNri } from "./compose/plugins.ts";
import type { Containers } from "./container/containers.ts";
import { isHostMountKey } from "./image/host-mounts.ts";
import { limitMallocArenas, mapLargeBlocks } from "./linux/memory.ts";
import { setOomScoreAdj } from "./linux/process.ts";
import { createMetrics } from "./metrics/metrics.ts";
import { containerRecovery } from "./recovery/containers.ts";
import { recover } from "./recovery/recover.ts";
import type { EventServer } from "./shim/event-server.ts";
import { Store } from "./store/store.ts";
import { version } from "./version.ts";

export interface Daemon {
  /** Stops serving. Pods, their shims and the logger live on. */
  close(): Promise<void>;
}

/**
 * Makes every object and starts them in order: store, drivers, domain, recovery, server. When a step fails, what was started is
 * stopped again.
 *
 * @throws when crid cannot serve: another daemon has the root or the socket, a directory cannot be made
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { config, log } = options;
  const started = performance.now();
  limitMallocArenas(2);
  mapLargeBlocks(1024 * 1024);
  await using stack = new AsyncDisposableStack();
  const paths = pathsOf(config);
  for (const dir of [paths.root, paths.state, paths.containers, paths.bundles, paths.pods])
    await mkdir(dir, { recursive: true, mode: 0o711 });
  const oomScore = setOomScoreAdj("self", config.oomScore);
  if (oomScore !== config.oomScore) log.debug({ wanted: config.oomScore, oomScore }, "oom_score_adj cannot go that low here");

  const store = stack.adopt(Store.open({ path: paths.database, lockPath: paths.lock, log }), (opened) => opened.close());
  if (store.damaged !== undefined) log.error({ movedTo: store.damaged }, "the database was damaged; beginning with an empty one");

  const unclean = store.beginRun();
  // Else a power cut would bring back that the last run, not this one, ended in order.
  const noted = store.sync();
  let isRunning = false;
  stack.defer(() => {
    if (isRunning) store.endRun();
  });

  const metrics = createMetrics();
  const drivers = await startDrivers(options, paths, metrics, stack);
  await noted;
  const domain = await makeDomain(options, { paths, store, drivers, metrics, unclean });
  // Containers first: what they undo goes through the pods' shims.
  stack.defer(() => domain.sandboxes.close());
  stack.defer(() => domain.containers.close());
  stack.defer(watchTaskEvents(drivers.events, domain.containers, log));

  const containersPart = containerRecovery({ containers: domain.containers, sandboxes: domain.sandboxes, logger: drivers.logger, log });
  const stopping = new AbortController();
  const recovered = recover(
    {
      store,
      sandboxes: domain.sandboxes,
      containers: containersPart,
      shims: drivers.shims,
      netns: drivers.netns,
      cni: drivers.cni,
      settings: domain.settings,
      containersDir: paths.containers,
      runtimeStateDir: join(paths.runc, namespace),
      logger: drivers.logger,
      snapshots: {
        // What an operator has mounted is on no record, and stays.
        keys: () => drivers.snapshotter.keys().filter((key) => !isHostMountKey(key)),
        remove: async (key) => {
          await domain.images.releaseVolume(key);
          await domain.images.releaseRootfs(key);
        },
      },
      log,
    },
    { signal: stopping.signal },
  ).catch((error: unknown) => log.error({ err: error }, "recovery failed"));
  stack.defer(async () => void (await recovered));
  const { nri } = drivers;
  if (nri !== undefined)
    recovered.then(() => startNri(nri, domain)).catch((error: unknown) => log.error({ err: error }, "letting NRI plugins in failed"));

  await startEdge(options, { paths, store, domain, drivers, metrics, stack });
  stack.defer(() => stopping.abort(new CridError("unavailable", "the daemon is stopping")));
  log.info({ version, ms: Math.round(performance.now() - started), address: config.grpc.address }, "crid is ready");
  isRunning = true;
  const running = stack.move();
  return { close: () => running.disposeAsync() };
}

/** A shim's events are a second source of exits, and the first of OOM kills. @returns what ends it */
function watchTaskEvents(events: EventServer, containers: Containers, log: Logger): () => void {
  return events.subscribe((event) => {
    if (event.topic !== "exit" && event.topic !== "oom") return;
    containers
      .onTaskEvent(event)
      .catch((error: unknown) => log.warn({ container: event.containerId, err: error }, "a task's event was lost"));
  });
}
