import { rmdir } from "node:fs/promises";
import { LayerUnpacker } from "../archive/layer-unpacker.ts";
import { Cdi } from "../cdi/cdi.ts";
import { Cgroups } from "../cgroup/cgroups.ts";
import type { CgroupDriver } from "../cgroup/paths.ts";
import { BlockIoClasses } from "../classes/block-io.ts";
import { RdtClasses } from "../classes/rdt.ts";
import { Cni } from "../cni/cni.ts";
import { ContentStore } from "../content/content-store.ts";
import { LoggerClient } from "../logger/logger-client.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { NetnsDriver } from "../netns/netns.ts";
import type { Nri } from "../nri/nri.ts";
import { Registry } from "../registry/registry.ts";
import { EventServer } from "../shim/event-server.ts";
import { Shims } from "../shim/shims.ts";
import { openSnapshotter } from "../snapshot/open-snapshotter.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { DaemonOptions } from "./options.ts";
import type { Paths } from "./paths.ts";
import { openNri } from "./plugins.ts";

/** Part of the shims' addresses, and of the names that containerd's tools show. */
export const namespace = "k8s.io";
/** Network namespaces that are made ahead. */
const netnsPoolSize = 8;

/** One object for each kind of outside thing. */
export interface Drivers {
  cgroups: Cgroups;
  cgroupDriver: CgroupDriver;
  content: ContentStore;
  snapshotter: Snapshotter;
  registry: Registry;
  unpacker: LayerUnpacker;
  netns: NetnsDriver;
  cni: Cni;
  events: EventServer;
  shims: Shims;
  logger: LoggerClient;
  cdi: Cdi;
  classes: { blockIo: BlockIoClasses; rdt: RdtClasses };
  /** undefined: NRI is off. */
  nri: Nri | undefined;
}

/** What is started here is stopped by `stack`. */
export async function startDrivers(options: DaemonOptions, paths: Paths, metrics: Metrics, stack: AsyncDisposableStack): Promise<Drivers> {
  const { config, log } = options;
  const cgroups = new Cgroups({ log });
  const netns = stack.adopt(new NetnsDriver({ dir: paths.netns, poolSize: netnsPoolSize, log }), (driver) => driver.close());
  const cni = stack.adopt(new Cni({ ...config.cni, log, onOperation: (operation) => metrics.cniOperation(operation) }), (driver) =>
    driver.close(),
  );
  const events = stack.adopt(new EventServer({ path: paths.events, log }), (server) => server.close());
  const logger = stack.adopt(
    new LoggerClient({
      stateDir: paths.state,
      command: [...options.self, "logger", "--state", paths.state],
      maxLineSize: config.container.maxLogLineSize,
      log,
    }),
    (client) => client.disconnect(),
  );
  // Not waited for: whoever needs the logger waits for it, and a pod that has no container yet does not.
  logger.ensureRunning().catch((error: unknown) => log.error({ err: error }, "the logger does not start; containers cannot be created"));
  const unpacker = stack.use(new LayerUnpacker({ gunzip: config.image.gunzip }));
  const registry = new Registry({ config: config.registry, progressTimeoutMs: config.image.pullProgressTimeout, log });
  const [content, snapshotter] = await Promise.all([
    ContentStore.open({ root: paths.content, log }),
    openSnapshotter({ root: paths.snapshots, mounts: paths.layerMounts, choice: config.image.snapshotter, log }),
    cni.start(),
    events.listen(),
  ]);
  // With no shim left the directory goes; else rmdir refuses. The next shim makes it anew.
  stack.defer(() => rmdir(paths.shimSockets).catch(() => {}));
  const shims = new Shims({
    stateDir: paths.state,
    namespace,
    socketDir: paths.shimSockets,
    eventsAddress: paths.events,
    debug: config.debug,
    log,
  });
  const cgroupDriver = config.cgroupDriver === "auto" ? cgroups.detectDriver() : config.cgroupDriver;
  const cdi = new Cdi({ ...config.cdi, log });
  const classes = {
    blockIo: new BlockIoClasses({ ...config.runtime.blockio, log }),
    rdt: new RdtClasses({ ...config.runtime.rdt, log }),
  };
  const nri = await openNri(config, metrics, log);
  stack.defer(() => nri?.close());
  return { cgroups, cgroupDriver, content, snapshotter, registry, unpacker, netns, cni, events, shims, logger, cdi, classes, nri };
}
