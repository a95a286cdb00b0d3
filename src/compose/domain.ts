import { messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { Cgroups } from "../cgroup/cgroups.ts";
import { containerCgroupPath } from "../cgroup/paths.ts";
import type { Config } from "../config/schema.ts";
import { loadDefaultApparmorProfile } from "../container/apparmor-default.ts";
import { Containers } from "../container/containers.ts";
import { LifecycleEvents } from "../container/events.ts";
import { probeSpecHost } from "../container/spec-host.ts";
import { Images } from "../image/images.ts";
import { ImageVerifiers } from "../image/verifier.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { SpecHost } from "../oci/host.ts";
import type { SecurityProfile } from "../records/pod-config.ts";
import type { SandboxSettings } from "../sandbox/deps.ts";
import { probeRuntimeFeatures } from "../sandbox/runtime-features.ts";
import { runtimeHandler } from "../sandbox/runtime-handlers.ts";
import { Sandboxes } from "../sandbox/sandboxes.ts";
import type { Store } from "../store/store.ts";
import type { Drivers } from "./drivers.ts";
import type { DaemonOptions } from "./options.ts";
import { type Paths, pauseRootfs } from "./paths.ts";

/** A container's exit is reported at the latest this long after it, when a child of it keeps its output open. */
const drainExitTimeoutMs = 5_000;

/** What is true of pods, containers and images, and the order of steps. */
export interface Domain {
  settings: SandboxSettings;
  sandboxes: Sandboxes;
  containers: Containers;
  images: Images;
}

/** What the domain is made of. */
interface Parts {
  paths: Paths;
  store: Store;
  drivers: Drivers;
  metrics: Metrics;
  /** The last run of the daemon did not end in order. */
  unclean: boolean;
}

export async function makeDomain(options: DaemonOptions, parts: Parts): Promise<Domain> {
  const { config, log } = options;
  const { paths, store, drivers, metrics } = parts;
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
  const specHost = await specHostOf(settings, cgroups, config, log);
  if (specHost.apparmor) await loadDefaultApparmorProfile({ log });
  const images = await makeImages(config, parts, log);
  const sandboxes = new Sandboxes({
    store,
    shims: drivers.shims,
    cni: drivers.cni,
    netns: drivers.netns,
    cgroups,
    cgroupsPath: (parent, id) => containerCgroupPath(parent, id, cgroupDriver),
    images,
    ...(drivers.nri && { plugins: drivers.nri }),
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
    cdi: drivers.cdi,
    classes: drivers.classes,
    ...(drivers.nri && { plugins: drivers.nri }),
    table: store.containers,
    paths: { containersDir: paths.containers, bundlesDir: paths.bundles },
    host: specHost,
    settings: {
      drainExecTimeoutMs: config.container.drainExecTimeout,
      drainExitTimeoutMs,
      ...(unsetSeccomp && { unsetSeccomp }),
    },
    log,
    events: new LifecycleEvents({ onDropped: () => metrics.eventReaderDropped() }),
  });
  sandboxes.useContainers(containers);
  metrics.watch({
    pods: () => sandboxes.countByState(),
    containers: () => countBy(containers.list().map(({ state }) => state)),
    images: () => images.list().length,
    nriPlugins: () => drivers.nri?.plugins.length ?? 0,
    cniRetries: () => sandboxes.retries.list().length,
  });
  return { settings, sandboxes, containers, images };
}

async function makeImages(config: Config, { paths, store, drivers, metrics, unclean }: Parts, log: Logger): Promise<Images> {
  const { content, snapshotter, registry, unpacker } = drivers;
  const images = new Images({
    table: store.images,
    transaction: (run) => store.transaction(run),
    syncTable: () => store.sync(),
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
    scrubFile: paths.scrub,
    scrubRate: config.image.scrubRate,
    upkeep: { collectIntervalMs: config.image.collectInterval, keepPartialMs: config.image.keepPartialDownloads },
    unpackLimits: { maxBytes: config.image.maxLayerBytes, maxEntries: config.image.maxLayerEntries },
    ...(config.image.verifier.dir === "" ? {} : { verify: verifiersOf(config, log).verify }),
    pinned: config.sandbox.image === "" ? config.image.pinned : [...config.image.pinned, config.sandbox.image],
    log,
  });
  await images.start({ unclean });
  return images;
}

function verifiersOf({ image: { verifier } }: Config, log: Logger): ImageVerifiers {
  return new ImageVerifiers({ ...verifier, timeoutMs: verifier.timeout, log });
}

/** After the daemon's own oom_score_adj was set, which limits those of the containers. */
async function specHostOf(settings: SandboxSettings, cgroups: Cgroups, config: Config, log: Logger): Promise<SpecHost> {
  let recursiveReadonly = false;
  try {
    const { options } = runtimeHandler("", settings);
    ({ recursiveReadonly } = await probeRuntimeFeatures(options.binaryName));
  } catch (error) {
    log.warn(`the default runtime handler is not usable now: ${messageOf(error)}`);
  }
  return probeSpecHost({
    cgroupVersion: cgroups.version,
    recursiveReadonly,
    rlimits: config.container.rlimits,
    selinux: config.container.selinux === "auto",
  });
}

function countBy(states: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = { created: 0, running: 0, exited: 0, unknown: 0 };
  for (const state of states) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}
