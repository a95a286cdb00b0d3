import { readFile, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { CridError } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { withoutSecrets } from "../config/registry-schema.ts";
import { deviceNumber } from "../linux/files.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { serveMetrics } from "../metrics/serve.ts";
import { probeRuntimeFeatures } from "../sandbox/runtime-features.ts";
import { runtimeHandler } from "../sandbox/runtime-handlers.ts";
import type { Sandboxes } from "../sandbox/sandboxes.ts";
import { type DiskLimits, Stats } from "../sandbox/stats/stats.ts";
import { adminHandlers } from "../server/admin/admin-handlers.ts";
import { imageHandlers, runtimeHandlers } from "../server/handlers/handlers.ts";
import { NodeInfo } from "../server/node-info.ts";
import { CriServer } from "../server/server.ts";
import type { Store } from "../store/store.ts";
import { StreamingServer } from "../streaming/streaming-server.ts";
import { version } from "../version.ts";
import type { Domain } from "./domain.ts";
import type { Drivers } from "./drivers.ts";
import type { DaemonOptions } from "./options.ts";
import type { Paths } from "./paths.ts";

const podCidrKey = "pod-cidr";

/** The servers: streams, metrics, and last the CRI, which callers wait for. What is started here is stopped by `stack`. */
export async function startEdge(
  options: DaemonOptions,
  parts: { paths: Paths; store: Store; domain: Domain; drivers: Drivers; metrics: Metrics; stack: AsyncDisposableStack },
): Promise<void> {
  const { config, log } = options;
  const { domain, drivers, metrics, stack } = parts;
  const { settings, sandboxes, containers, images } = domain;
  const sandboxImage = config.sandbox.image === "" ? "built-in" : config.sandbox.image;
  restorePodCidr(parts.store, drivers, log);
  const node = new NodeInfo({
    version,
    cgroupDriver: drivers.cgroupDriver,
    writableLayers: drivers.snapshotter.root,
    cni: drivers.cni,
    rememberPodCidr: (cidr) => parts.store.meta.set(podCidrKey, cidr),
    defaultHandler: config.runtime.default,
    handlerNames: Object.keys(config.runtime.handlers),
    check: () => void runtimeHandler("", settings),
    probe: async (name) => probeRuntimeFeatures(runtimeHandler(name, settings).options.binaryName),
    verbose: async () => ({
      config: {
        ...config,
        registry: withoutSecrets(config.registry),
        stateDir: config.state,
        sandboxImage,
      },
      cni: drivers.cni.status(),
      cniRetries: sandboxes.retries.list(),
      nri: { enabled: config.nri.enabled, plugins: drivers.nri?.plugins ?? [] },
      cdi: await drivers.cdi.status(),
      blockio: await drivers.classes.blockIo.status(),
      rdt: await drivers.classes.rdt.status(),
    }),
    log,
  });
  const stats = new Stats({
    containers,
    sandboxes,
    cgroups: drivers.cgroups,
    pauseImage: sandboxImage,
    diskUsage: (id) => images.rootfsUsage(id),
    diskLimits: () => diskLimits(drivers.snapshotter.root),
    log,
  });
  const streaming = stack.adopt(
    new StreamingServer({
      ...config.streaming,
      idleTimeoutMs: config.streaming.idleTimeout,
      targets: {
        exec: (id, request) => containers.exec(id, request),
        attach: (id, request) => containers.attach(id, request),
        podNetns: (id) => readyPodNetns(sandboxes, id),
      },
      log,
    }),
    (server) => server.close(),
  );
  await streaming.listen();
  const services = {
    runtimeSpec: (id: string) => runtimeSpec(join(parts.paths.bundles, id)),
    stats,
    containers,
    sandboxes,
    images,
    streaming,
    node,
  };
  const metricsServer = await serveMetrics({ address: config.metrics.address, registry: metrics.registry, log });
  stack.use(metricsServer);
  const server = new CriServer({
    ...config.grpc,
    runtime: runtimeHandlers(services),
    images: imageHandlers(services),
    admin: adminHandlers({ images, content: drivers.content, registry: drivers.registry }),
    log,
    observe: ({ method, code, seconds }) => metrics.rpc(method, code, seconds),
  });
  await server.listen();
  stack.defer(() => server.close());
}

/** The kubelet tells the pod CIDR once, when it learns it, and not again to a runtime that was restarted. */
function restorePodCidr(store: Store, drivers: Drivers, log: Logger): void {
  const cidr = store.meta.get(podCidrKey);
  if (cidr === undefined) return;
  try {
    drivers.cni.setPodCidr(cidr);
  } catch (error) {
    log.warn({ cidr, err: error }, "the pod CIDR on record cannot be used");
  }
}

/** @throws not-found, failed-precondition when the pod was stopped */
function readyPodNetns(sandboxes: Sandboxes, id: string): string {
  const pod = sandboxes.get(id);
  if (!pod.ready) throw new CridError("failed-precondition", `pod ${pod.title} is not ready`);
  return pod.netnsPath;
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
