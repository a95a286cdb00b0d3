import { readFile } from "node:fs/promises";
import pLimit, { type LimitFunction } from "p-limit";
import { CridError, messageOf } from "../../base/errors.ts";
import { raceAbort } from "../../base/keyed-mutex.ts";
import type { Logger } from "../../base/log.ts";
import { linkSignals } from "../../base/signals.ts";
import { type Nanos, nowNanos } from "../../base/time.ts";
import { podCgroup } from "../../cgroup/paths.ts";
import type { CgroupStats } from "../../cgroup/stats.ts";
import type { ContainerView } from "../../container/containers.ts";
import type { ContainerFilter } from "../../container/filter.ts";
import type { SandboxFilter, SandboxView } from "../status.ts";
import { blockDeviceName } from "./block-device.ts";
import { CpuRate } from "./cpu-rate.ts";
import { type DiskSample, DiskSamples } from "./disk-samples.ts";
import { type NetworkInterface, parseNetDev } from "./net-dev.ts";
import { sumOf } from "./pod-cgroup.ts";
import { type CgroupSample, type SampledCgroups, sampleCgroup } from "./sample.ts";

export interface ContainerStats {
  readonly view: ContainerView;
  /** Absent while it does not run. */
  readonly cgroup?: CgroupStats;
  /** Nanoseconds of CPU a second since the last reading. */
  readonly nanoCores?: bigint;
  readonly writable?: DiskSample;
}

export interface PodStats {
  readonly pod: SandboxView;
  /** Of the whole pod. */
  readonly cgroup?: CgroupStats;
  readonly nanoCores?: bigint;
  /** Absent on the host's network. */
  readonly network?: { at: Nanos; interfaces: NetworkInterface[] };
  readonly containers: readonly ContainerStats[];
}

/** A container with everything that the cAdvisor-like metrics ask for. */
export interface ContainerSample extends ContainerStats, CgroupSample {
  readonly cgroup?: CgroupStats;
}

export interface PodSample extends Omit<PodStats, "containers"> {
  /** The cgroup that holds this pod alone; absent when its parent is shared. */
  readonly own?: CgroupSample;
  readonly pause: CgroupSample;
  readonly pauseImage: string;
  readonly containers: readonly ContainerSample[];
  /** Of the file system that writable layers are on. */
  readonly disk: DiskLimits;
  /** The file of a block device ("/dev/vda") that is told by number ("254:0") in these samples. */
  readonly deviceName: (number: string) => string;
}

export interface DiskLimits {
  /** The block device below it: "major:minor". */
  device: string;
  bytes: bigint;
  inodes: bigint;
  inodesFree: bigint;
}

/** What stats need of the rest, said from this side. */
export interface StatsDeps {
  containers: { get(id: string): ContainerView; list(filter: ContainerFilter): ContainerView[] };
  sandboxes: { get(id: string): MeasuredPod; find(id: string): MeasuredPod | undefined; list(filter: SandboxFilter): SandboxView[] };
  cgroups: SampledCgroups & { readStats(target: string): Promise<CgroupStats> };
  /** The image of pauses, as kubeadm is told. */
  pauseImage: string;
  /** What a container has written. */
  diskUsage: (containerId: string) => Promise<{ bytes: number; inodes: number }>;
  /** Of the file system that writable layers are on. */
  diskLimits: () => Promise<DiskLimits>;
  log: Logger;
}

export interface MeasuredPod extends Omit<SandboxView, "state" | "createdAt"> {
  readonly hostNetwork: boolean;
  readonly pausePid: number;
  containerCgroupsPath(id: string): string;
}

/** A container whose numbers cannot be had in this time is shown with its last ones: it must not hold up all the others. */
const readTimeoutMs = 2_000;
/** Pods that are measured at the same time. */
const atOnce = 16;

/** Measures containers and pods when asked; nothing goes on in between. */
export class Stats {
  readonly #deps: StatsDeps;
  readonly #rates = new CpuRate();
  readonly #disk: DiskSamples;
  /** The last numbers, by what they are of. */
  readonly #last = new WeakMap<object, CgroupStats>();

  constructor(deps: StatsDeps) {
    this.#deps = deps;
    this.#disk = new DiskSamples({ measure: deps.diskUsage, log: deps.log });
  }

  /** @throws not-found */
  async container(id: string, options: { signal: AbortSignal }): Promise<ContainerStats> {
    return this.#container(this.#deps.containers.get(id), options.signal);
  }

  /** Of those that run. */
  async containers(filter: ContainerFilter, options: { signal: AbortSignal }): Promise<ContainerStats[]> {
    const views = this.#deps.containers.list({ ...filter, state: "running" });
    this.#disk.keep(new Set(this.#deps.containers.list({}).map(({ record }) => record.id)));
    return Promise.all(views.map((view) => this.#container(view, options.signal)));
  }

  /** @throws not-found */
  async pod(id: string, options: { signal: AbortSignal }): Promise<PodStats> {
    const { id: fullId } = this.#deps.sandboxes.get(id);
    const [view] = this.#deps.sandboxes.list({ id: fullId });
    if (view === undefined) throw new CridError("not-found", `pod sandbox "${id}" not found`);
    return this.#pod(view, options.signal);
  }

  /** Of those that are ready. */
  async pods(filter: SandboxFilter, options: { signal: AbortSignal }): Promise<PodStats[]> {
    const limit = pLimit(atOnce);
    const views = this.#deps.sandboxes.list({ ...filter, state: "ready" });
    return Promise.all(views.map((view) => limit(() => this.#pod(view, options.signal))));
  }

  /** Of the pods that are ready, for metrics. */
  async samples(options: { signal: AbortSignal }): Promise<PodSample[]> {
    const [pods, disk] = await Promise.all([this.pods({}, options), this.#deps.diskLimits()]);
    const limit = pLimit(atOnce);
    const devices = [
      disk.device,
      ...pods.flatMap(({ containers }) => containers.flatMap(({ cgroup }) => cgroup?.io ?? []).map(({ device }) => device)),
    ];
    const names = new Map(await Promise.all([...new Set(devices)].map(async (number) => [number, await blockDeviceName(number)] as const)));
    const deviceName = (number: string): string => names.get(number) ?? number;
    return Promise.all(
      pods.map(async (stats) => ({ ...stats, disk, deviceName, ...(await this.#samplePod(stats, limit, options.signal)) })),
    );
  }

  async #samplePod(
    stats: PodStats,
    limit: LimitFunction,
    signal: AbortSignal,
  ): Promise<Pick<PodSample, "own" | "pause" | "pauseImage" | "containers">> {
    const { cgroups, sandboxes, pauseImage } = this.#deps;
    const pod = sandboxes.find(stats.pod.id);
    const path = (id: string): string => pod?.containerCgroupsPath(id) ?? "";
    const leaf = (id: string, cgroup: CgroupStats | undefined, own = path(id)) =>
      limit(() => sampleCgroup(cgroups, own, cgroup, { group: false }));
    const ownPath = podCgroup(stats.pod.config.uid, path(stats.pod.id));
    const [own, pause, ...containers] = await Promise.all([
      ownPath === undefined ? undefined : limit(() => sampleCgroup(cgroups, ownPath, stats.cgroup, { group: true })),
      pod === undefined ? undefined : this.#read(pod, path(stats.pod.id), signal).then((cgroup) => leaf(stats.pod.id, cgroup)),
      ...stats.containers.map(async (one) => ({ ...one, ...(await leaf(one.view.record.id, one.cgroup, one.view.record.cgroupsPath)) })),
    ]);
    const gone = (): Promise<CgroupSample> => sampleCgroup(cgroups, path(stats.pod.id), undefined, { group: true });
    return { ...(own && { own }), pause: pause ?? (await gone()), pauseImage, containers };
  }

  async #container(view: ContainerView, signal: AbortSignal): Promise<ContainerStats> {
    const { record, state } = view;
    const own = record.cgroupsPath ?? this.#deps.sandboxes.find(record.sandboxId)?.containerCgroupsPath(record.id);
    const path = state === "running" ? own : undefined;
    const [cgroup, writable] = await Promise.all([
      path === undefined ? undefined : this.#read(record.config, path, signal),
      this.#disk.get(record.id),
    ]);
    return { view, ...this.#withRate(record.config, cgroup), ...(writable && { writable }) };
  }

  async #pod(view: SandboxView, signal: AbortSignal): Promise<PodStats> {
    const pod = this.#deps.sandboxes.find(view.id);
    const containers = await Promise.all(
      this.#deps.containers.list({ sandboxId: view.id, state: "running" }).map((container) => this.#container(container, signal)),
    );
    const [cgroup, network] = await Promise.all([this.#podCgroup(view, pod, containers, signal), networkOf(pod)]);
    return { pod: view, ...this.#withRate(view.config, cgroup), ...(network && { network }), containers };
  }

  /** The pod's own cgroup where it has one, as under a kubelet; else what its containers and its pause have used together. */
  async #podCgroup(
    view: SandboxView,
    pod: MeasuredPod | undefined,
    containers: readonly ContainerStats[],
    signal: AbortSignal,
  ): Promise<CgroupStats | undefined> {
    if (pod === undefined) return undefined;
    const pausePath = pod.containerCgroupsPath(pod.id);
    const own = podCgroup(view.config.uid, pausePath);
    if (own !== undefined) return this.#read(view.config, own, signal);
    const pause = await this.#read(pod, pausePath, signal);
    return sumOf([pause, ...containers.map(({ cgroup }) => cgroup)]);
  }

  async #read(of: object, path: string, signal: AbortSignal): Promise<CgroupStats | undefined> {
    using limit = linkSignals({ signals: [signal], timeoutMs: readTimeoutMs, step: `stats of cgroup ${path}` });
    try {
      const stats = await raceAbort(this.#deps.cgroups.readStats(path), limit.signal);
      this.#last.set(of, stats);
      return stats;
    } catch (error) {
      signal.throwIfAborted();
      this.#deps.log.debug({ path, error: messageOf(error) }, "reading stats failed; the last ones are shown");
      return this.#last.get(of);
    }
  }

  #withRate(of: object, cgroup: CgroupStats | undefined): { cgroup?: CgroupStats; nanoCores?: bigint } {
    if (cgroup === undefined) return {};
    const nanoCores = cgroup.cpu === undefined ? undefined : this.#rates.observe(of, cgroup.at, cgroup.cpu.usageNanos);
    return { cgroup, ...(nanoCores !== undefined && { nanoCores }) };
  }
}

async function networkOf(pod: MeasuredPod | undefined): Promise<PodStats["network"]> {
  if (pod === undefined || pod.hostNetwork || pod.pausePid === 0) return undefined;
  try {
    return { at: nowNanos(), interfaces: parseNetDev(await readFile(`/proc/${pod.pausePid}/net/dev`, "latin1")) };
  } catch {
    return undefined; // The pause has just ended.
  }
}
