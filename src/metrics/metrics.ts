import { monitorEventLoopDelay } from "node:perf_hooks";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { PullTotals } from "../records/pull-totals.ts";

/** Counts of things by state, asked when somebody scrapes: a gauge kept up to date by hand drifts. */
export type CountByState = () => Readonly<Record<string, number>>;

/** Everything crid measures. Each method takes plain values, so that no other folder knows the metrics library. */
export interface Metrics {
  readonly registry: MetricsRegistry;
  /** One finished RPC; `code` is the gRPC code's name ("OK", "NotFound"). */
  rpc(method: string, code: string, seconds: number): void;
  /** One finished CNI call of one plugin. */
  cniOperation(operation: { command: string; plugin: string; network: string; ms: number; ok: boolean }): void;
  /** One finished pull; `result` is "ok" or the kind of its error. */
  pull(result: string, totals: PullTotals): void;
  /** Pulls under way. */
  pullsRunning(delta: 1 | -1): void;
  /** Things that the image store has removed as nothing referred to them; "partial" = a broken off download. */
  collected(kind: "blob" | "layer" | "partial", count: number): void;
  /** One blob or layer read and verified after a stop that was not clean. */
  verified(kind: "blob" | "layer", result: "ok" | "damaged"): void;
  /** One step of RunPodSandbox and its like ("network", "shim", "create", "start"). */
  step(operation: string, step: string, seconds: number): void;
  /** A reader of GetContainerEvents was dropped, as it did not keep up. */
  eventReaderDropped(): void;
  /** One call of an NRI plugin. */
  nriCall(call: { plugin: string; event: string; seconds: number; result: string }): void;
  /** An NRI plugin was cut off, or went. */
  nriCutOff(plugin: string, reason: string): void;
  /** Sets where the numbers of pods, containers and waiting CNI retries come from. */
  watch(sources: {
    pods: CountByState;
    containers: CountByState;
    images: () => number;
    cniRetries: () => number;
    nriPlugins: () => number;
  }): void;
}

/** What the HTTP server needs of a registry. */
export interface MetricsRegistry {
  readonly contentType: string;
  metrics(): Promise<string>;
}

const RPC_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 240];

/** A registry of its own: nothing global, so that two can live in one process (tests, two daemons). */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, prefix: "crid_" });
  const rpc = new Histogram({
    name: "crid_rpc_duration_seconds",
    help: "Duration of CRI calls by method and gRPC code.",
    labelNames: ["method", "code"],
    buckets: RPC_BUCKETS,
    registers,
  });
  const cni = new Histogram({
    name: "crid_cni_operation_duration_seconds",
    help: "Duration of CNI plugin calls by command, plugin, network and result.",
    labelNames: ["command", "plugin", "network", "result"],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    registers,
  });
  const pulls = new Histogram({
    name: "crid_image_pull_duration_seconds",
    help: "Duration of image pulls by result.",
    labelNames: ["result"],
    buckets: [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600],
    registers,
  });
  const pullStages = new Counter({
    name: "crid_image_pull_stage_seconds_total",
    help: "Time that pulls took by stage (resolve, download, inflate, write, sync), summed over blobs and layers side by side.",
    labelNames: ["stage"],
    registers,
  });
  const counter = (name: string, help: string): Counter => new Counter({ name, help, registers });
  const pulledBytes = counter("crid_image_pulled_bytes_total", "Bytes fetched from registries.");
  const resumedBytes = counter("crid_image_resumed_bytes_total", "Bytes that a pull did not fetch, as an earlier try had.");
  const cachedBytes = counter("crid_image_cached_bytes_total", "Bytes of blobs that a pull wanted and that were here.");
  const cachedBlobs = counter("crid_image_cached_blobs_total", "Blobs that a pull wanted and that were here.");
  const interruptions = counter(
    "crid_image_download_interruptions_total",
    "Times that a connection was cut, or an endpoint failed, in a blob.",
  );
  const pullsRunning = new Gauge({ name: "crid_image_pulls_running", help: "Image pulls under way.", registers });
  const collected = new Counter({
    name: "crid_image_collected_total",
    help: "Blobs, layers and partial downloads removed as nothing referred to them.",
    labelNames: ["kind"],
    registers,
  });
  const verified = new Counter({
    name: "crid_image_verified_total",
    help: "Blobs and layers verified after a stop that was not clean, by result.",
    labelNames: ["kind", "result"],
    registers,
  });
  const steps = new Histogram({
    name: "crid_step_duration_seconds",
    help: "Duration of the steps of an operation (run-pod-sandbox: network, shim, create, start).",
    labelNames: ["operation", "step"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers,
  });
  const droppedReaders = new Counter({
    name: "crid_event_subscribers_dropped_total",
    help: "Callers of GetContainerEvents that were dropped, as they did not keep up.",
    registers,
  });
  const nriCalls = new Histogram({
    name: "crid_nri_call_duration_seconds",
    help: "Duration of calls of NRI plugins by plugin, event and result (ok, error: it refused, cut-off: no answer).",
    labelNames: ["plugin", "event", "result"],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5],
    registers,
  });
  const nriCutOffs = new Counter({
    name: "crid_nri_plugins_cut_off_total",
    help: "Connections of NRI plugins that ended, by plugin and kind of the reason (canceled: the daemon stops).",
    labelNames: ["plugin", "reason"],
    registers,
  });
  eventLoopDelay(registers);
  return {
    registry,
    rpc: (method, code, seconds) => rpc.observe({ method, code }, seconds),
    cniOperation: ({ command, plugin, network, ms, ok }) =>
      cni.observe({ command, plugin, network, result: ok ? "ok" : "error" }, ms / 1000),
    pull: (result, totals) => {
      pulls.observe({ result }, totals.ms / 1000);
      pulledBytes.inc(totals.downloadedBytes);
      resumedBytes.inc(totals.resumedBytes);
      cachedBytes.inc(totals.cachedBytes);
      cachedBlobs.inc(totals.cachedBlobs);
      interruptions.inc(totals.interruptions);
      const { resolveMs: resolve, downloadMs: download, inflateMs: inflate, writeMs: write, syncMs: sync } = totals;
      for (const [stage, ms] of Object.entries({ resolve, download, inflate, write, sync })) pullStages.inc({ stage }, ms / 1000);
    },
    pullsRunning: (delta) => pullsRunning.inc(delta),
    collected: (kind, count) => collected.inc({ kind }, count),
    verified: (kind, result) => verified.inc({ kind, result }),
    step: (operation, step, seconds) => steps.observe({ operation, step }, seconds),
    eventReaderDropped: () => droppedReaders.inc(),
    nriCall: ({ plugin, event, seconds, result }) => nriCalls.observe({ plugin, event, result }, seconds),
    nriCutOff: (plugin, reason) => nriCutOffs.inc({ plugin, reason }),
    watch: (sources) => watch(registers, sources),
  };
}

/**
 * How long the event loop made others wait since the last scrape. prom-client's own gauge is one sample at the time of the
 * scrape; this one samples every 10 ms. Node's histogram holds the whole time from one sample to the next, so the interval itself
 * is taken off.
 */
function eventLoopDelay(registers: Registry[]): void {
  const intervalMs = 10;
  const delay = monitorEventLoopDelay({ resolution: intervalMs });
  const seconds = (nanos: number): number => Math.max(0, nanos / 1e9 - intervalMs / 1000);
  delay.enable();
  new Gauge({
    name: "crid_event_loop_delay_seconds",
    help: "Delay of the event loop since the last scrape, by quantile.",
    labelNames: ["quantile"],
    registers,
    collect() {
      for (const quantile of [50, 90, 99]) this.set({ quantile: quantile / 100 }, seconds(delay.percentile(quantile)));
      this.set({ quantile: 1 }, seconds(delay.max));
      delay.reset();
    },
  });
}

function watch(registers: Registry[], sources: Parameters<Metrics["watch"]>[0]): void {
  const byState = (name: string, help: string, count: CountByState): void => {
    new Gauge({
      name,
      help,
      labelNames: ["state"],
      registers,
      collect() {
        this.reset();
        for (const [state, value] of Object.entries(count())) this.set({ state }, value);
      },
    });
  };
  const single = (name: string, help: string, count: () => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(count());
      },
    });
  };
  byState("crid_pods", "Pod sandboxes by state.", sources.pods);
  byState("crid_containers", "Containers by state.", sources.containers);
  single("crid_images", "Images.", sources.images);
  single("crid_nri_plugins", "NRI plugins that are registered.", sources.nriPlugins);
  single("crid_cni_retries", "CNI DELs that failed and wait for their next attempt.", sources.cniRetries);
}
