import { mkdir, readFile, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { LayerUnpacker } from "./archive/layer-unpacker.ts";
import { CridError, messageOf } from "./base/errors.ts";
import type { Logger } from "./base/log.ts";
import { Cgroups } from "./cgroup/cgroups.ts";
import { type CgroupDriver, containerCgroupPath } from "./cgroup/paths.ts";
import { Cni } from "./cni/cni.ts";
import { withoutSecrets } from "./config/registry-schema.ts";
import type { Config } from "./config/schema.ts";
import { Containers } from "./container/containers.ts";
import { LifecycleEvents } from "./container/events.ts";
import { probeSpecHost } from "./container/spec-host.ts";
import { ContentStore } from "./content/content-store.ts";
import { Images } from "./image/images.ts";
import { deviceNumber } from "./linux/files.ts";
import { setOomScoreAdj } from "./linux/process.ts";
import { LoggerClient } from "./logger/logger-client.ts";
import { createMetrics, type Metrics } from "./metrics/metrics.ts";
import { serveMetrics } from "./metrics/serve.ts";
import { NetnsDriver } from "./netns/netns.ts";
import type { SpecHost } from "./oci/host.ts";
import { type Paths, pathsOf, pauseRootfs } from "./paths.ts";
import type { SecurityProfile } from "./records/pod-config.ts";
import { containerRecovery } from "./recovery/containers.ts";
import { recover } from "./recovery/recover.ts";
import { Registry } from "./registry/registry.ts";
import type { SandboxSettings } from "./sandbox/deps.ts";
import { probeRuntimeFeatures } from "./sandbox/runtime-features.ts";
import { runtimeHandler } from "./sandbox/runtime-handlers.ts";
import { Sandboxes } from "./sandbox/sandboxes.ts";
import { type DiskLimits, Stats } from "./sandbox/stats/stats.ts";
import { imageHandlers, runtimeHandlers } from "./server/handlers/handlers.ts";
import { NodeInfo } from "./server/node-info.ts";
import { CriServer } from "./server/server.ts";
import type { StreamingUrls } from "./server/services.ts";
import { EventServer } from "./shim/event-server.ts";
import { Shims } from "./shim/shims.ts";
import { openSnapshotter } from "./snapshot/open-snapshotter.ts";
import type { Snapshotter } from "./snapshot/snapshotter.ts";
import { Store } from "./store/store.ts";
import { version } from "./version.ts";

/** Part of the shims' addresses, and of the names that containerd's tools show. */
const namespace = "k8s.io";
/** Network namespaces that are made ahead. */
const netnsPoolSize = 4;
/** A container's exit is reported at the latest this long after it, when a child of it keeps its output open. */
const drainExitTimeoutMs = 5_000;

export interface Daemon {
  /** Stops serving. Pods, their shims and the logger live on. */
  close(): Promise<void>;
}

export interface DaemonOptions {
  config: Config;
  log: Logger;
  /** argv that runs crid itself; the logger is started by it. */
  self: readonly string[];
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
  await using stack = new AsyncDisposableStack();
  const paths = pathsOf(config);
  for (const dir of [paths.root, paths.state, paths.containers, paths.bundles, paths.pods])
    await mkdir(dir, { recursive: true, mode: 0o711 });
  const oomScore = setOomScoreAdj("self", config.oomScore);
  if (oomScore !== config.oomScore) log.debug({ wanted: config.oomScore, oomScore }, "oom_score_adj cannot go that low here");

  const store = stack.adopt(Store.open({ path: paths.database, lockPath: paths.lock, log }), (opened) => opened.close());
  if (store.damaged !== undefined) log.error({ movedTo: store.damaged }, "the database was damaged; beginning with an empty one");

  const metrics = createMetrics();
  const drivers = await startDrivers(options, paths, metrics, stack);
  const domain = await makeDomain(options, paths, store, drivers, metrics);
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
        keys: () => drivers.snapshotter.keys(),
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

  await startEdge(options, { paths, domain, drivers, metrics, stack });
  stack.defer(() => stopping.abort(new CridError("unavailable", "the daemon is stopping")));
  log.info({ version, ms: Math.round(performance.now() - started), address: config.grpc.address }, "crid is ready");
  const running = stack.move();
  return { close: () => running.disposeAsync() };
}

interface Drivers {
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
}

async function startDrivers(options: DaemonOptions, paths: Paths, metrics: Metrics, stack: AsyncDisposableStack): Promise<Drivers> {
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
  const unpacker = stack.use(new LayerUnpacker());
  const registry = new Registry({ config: config.registry, progressTimeoutMs: config.image.pullProgressTimeout, log });
  const [content, snapshotter] = await Promise.all([
    ContentStore.open({ root: paths.content, log }),
    openSnapshotter({ root: paths.snapshots, mounts: paths.layerMounts, choice: config.image.snapshotter, log }),
    cni.start(),
    events.listen(),
  ]);
  const shims = new Shims({
    stateDir: paths.state,
    namespace,
    socketDir: paths.shimSockets,
    eventsAddress: paths.events,
    debug: config.debug,
    log,
  });
  const cgroupDriver = config.cgroupDriver === "auto" ? cgroups.detectDriver() : config.cgroupDriver;
  return { cgroups, cgroupDriver, content, snapshotter, registry, unpacker, netns, cni, events, shims, logger };
}

interface Domain {
  settings: SandboxSettings;
  sandboxes: Sandboxes;
  containers: Containers;
  images: Images;
}

async function makeDomain(options: DaemonOptions, paths: Paths, store: Store, drivers: Drivers, metrics: Metrics): Promise<Domain> {
  const { config, log } = options;
  const { cgroups, cgroupDriver } = drivers;
  const unsetSeccomp: SecurityProfile | undefined =
    config.container.unsetSeccompProfile === "runtime-default" ? { type: "runtime-default", localhostRef: "" } : undefined;
  const settings: SandboxSettings = {
    bundlesDir: paths.bundles,
    podsDir: paths.pods,
    runtimeRoot: paths.runc,
    pauseRootfs: pauseRootfs(),
    pauseImage: config.sandbox.image,
    defaultHandler: config.runtime.default,
    handlers: config.runtime.handlers,
    cgroupDriver,
    ...(unsetSeccomp && { unsetSeccomp }),
  };
  const specHost = await specHostOf(settings, cgroups, log);
  const images = await makeImages(config, paths, store, drivers, metrics, log);
  const sandboxes = new Sandboxes({
    store,
    shims: drivers.shims,
    cni: drivers.cni,
    netns: drivers.netns,
    cgroups,
    cgroupsPath: (parent, id) => containerCgroupPath(parent, id, cgroupDriver),
    images,
    specHost,
    settings,
    log,
    onStep: (operation, step, seconds) => metrics.step(operation, step, seconds),
  });
  const containers = new Containers({
    pods: sandboxes,
    images,
    logger: drivers.logger,
    shims: drivers.shims,
    cgroups,
    table: store.containers,
    paths: { containersDir: paths.containers, bundlesDir: paths.bundles },
    host: specHost,
    settings: {
      drainExecTimeoutMs: config.container.drainExecTimeout,
      drainExitTimeoutMs,
      ...(unsetSeccomp && { unsetSeccomp }),
    },
    log,
    events: new LifecycleEvents(),
  });
  sandboxes.useContainers(containers);
  metrics.watch({
    pods: () => sandboxes.countByState(),
    containers: () => countBy(containers.list().map(({ state }) => state)),
    images: () => images.list().length,
    cniRetries: () => sandboxes.retries.list().length,
  });
  return { settings, sandboxes, containers, images };
}

async function makeImages(config: Config, paths: Paths, store: Store, drivers: Drivers, metrics: Metrics, log: Logger): Promise<Images> {
  const { content, snapshotter, registry, unpacker } = drivers;
  const images = new Images({
    table: store.images,
    transaction: (run) => store.transaction(run),
    content,
    registry,
    snapshotter,
    unpacker,
    leasesDir: paths.leases,
    recordsDir: paths.imageRecords,
    metrics,
    volumesDir: paths.volumes,
    maxConcurrentDownloads: config.image.maxConcurrentDownloads,
    discardUnpackedLayers: config.image.discardUnpackedLayers,
    pinned: config.sandbox.image === "" ? config.image.pinned : [...config.image.pinned, config.sandbox.image],
    log,
  });
  await images.start();
  return images;
}

async function startEdge(
  options: DaemonOptions,
  parts: { paths: Paths; domain: Domain; drivers: Drivers; metrics: Metrics; stack: AsyncDisposableStack },
): Promise<void> {
  const { config, log } = options;
  const { domain, drivers, metrics, stack } = parts;
  const { settings, sandboxes, containers, images } = domain;
  const node = new NodeInfo({
    version,
    cgroupDriver: drivers.cgroupDriver,
    writableLayers: drivers.snapshotter.root,
    cni: drivers.cni,
    defaultHandler: config.runtime.default,
    handlerNames: Object.keys(config.runtime.handlers),
    check: () => void runtimeHandler("", settings),
    probe: async (name) => probeRuntimeFeatures(runtimeHandler(name, settings).options.binaryName),
    verbose: () => ({
      config: {
        ...config,
        registry: withoutSecrets(config.registry),
        stateDir: config.state,
        sandboxImage: config.sandbox.image === "" ? "built-in" : config.sandbox.image,
      },
      cni: drivers.cni.status(),
      cniRetries: sandboxes.retries.list(),
    }),
    log,
  });
  const stats = new Stats({
    containers,
    sandboxes,
    cgroups: drivers.cgroups,
    diskUsage: (id) => images.rootfsUsage(id),
    diskLimits: () => diskLimits(drivers.snapshotter.root),
    log,
  });
  const services = {
    runtimeSpec: (id: string) => runtimeSpec(join(parts.paths.bundles, id)),
    stats,
    containers,
    sandboxes,
    images,
    streaming: noStreaming(),
    node,
  };
  const metricsServer = await serveMetrics({ address: config.metrics.address, registry: metrics.registry, log });
  stack.use(metricsServer);
  const server = new CriServer({
    ...config.grpc,
    runtime: runtimeHandlers(services),
    images: imageHandlers(services),
    log,
    observe: ({ method, code, seconds }) => metrics.rpc(method, code, seconds),
  });
  await server.listen();
  stack.defer(() => server.close());
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

/** After the daemon's own oom_score_adj was set, which limits those of the containers. */
async function specHostOf(settings: SandboxSettings, cgroups: Cgroups, log: Logger): Promise<SpecHost> {
  let recursiveReadonly = false;
  try {
    const { options } = runtimeHandler("", settings);
    ({ recursiveReadonly } = await probeRuntimeFeatures(options.binaryName));
  } catch (error) {
    log.warn(`the default runtime handler is not usable now: ${messageOf(error)}`);
  }
  return probeSpecHost({ cgroupVersion: cgroups.version, recursiveReadonly });
}

/** The spec in a bundle, for people; undefined when the bundle has gone. */
async function runtimeSpec(bundle: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(join(bundle, "config.json"), "utf8"));
  } catch {
    return undefined;
  }
}

/** Asked of the file system, not counted: what others have written there counts too. */
async function diskLimits(path: string): Promise<DiskLimits> {
  const [{ blocks, bsize, files, ffree }, { dev }] = await Promise.all([statfs(path, { bigint: true }), stat(path, { bigint: true })]);
  return { device: deviceNumber(dev), bytes: blocks * bsize, inodes: files, inodesFree: ffree };
}

function countBy(states: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = { created: 0, running: 0, exited: 0, unknown: 0 };
  for (const state of states) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

function noStreaming(): StreamingUrls {
  const missing = (): never => {
    throw new CridError("unimplemented", "streaming is not built yet");
  };
  return { exec: missing, attach: missing, portForward: missing };
}
