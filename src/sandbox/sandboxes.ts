import { CridError } from "../base/errors.ts";
import { Gate } from "../base/gate.ts";
import { JoinedCalls } from "../base/joined-calls.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { Pods } from "../container/deps.ts";
import type { PodSandbox } from "../nri/messages.ts";
import type { LinuxResources } from "../records/pod-config.ts";
import type { PodContainers, SandboxDeps } from "./deps.ts";
import type { Env } from "./env.ts";
import { listPods } from "./list.ts";
import { updateWithPlugins } from "./plugins.ts";
import { Pod } from "./pod.ts";
import { removePod } from "./remove.ts";
import { CniRetries } from "./retries.ts";
import { type RunRequest, reservedName, runPodSandbox } from "./run.ts";
import { type SandboxFilter, type SandboxStatus, type SandboxView, statusOf, verboseOf } from "./status.ts";
import { stopPod } from "./stop.ts";

/** How long a RunPodSandbox whose callers have all gone is carried on: the kubelet asks again within this time. */
const ABANDONED_AFTER_MS = 60_000;

/** The pods of this node. Reads come from memory. Every id may be a unique prefix. */
export class Sandboxes implements Pods {
  readonly #env: Env;
  readonly #runs = new JoinedCalls<string>({ graceMs: ABANDONED_AFTER_MS });
  #containers: PodContainers | undefined;

  /** Reads the records. Touches nothing outside: that is for `recovery/`. */
  constructor(deps: SandboxDeps) {
    this.#env = {
      deps,
      pods: new Map(deps.store.sandboxes.all().map((record) => [record.id, new Pod(record, deps)])),
      locks: new KeyedMutex(),
      retries: new CniRetries({ table: deps.store.cniRetries, cni: deps.cni, log: deps.log }),
      networkGate: new Gate(),
      closing: new AbortController(),
      containers: () => {
        if (this.#containers === undefined) throw new CridError("internal", "sandboxes: useContainers was not called");
        return this.#containers;
      },
    };
  }

  /** Pods and containers need each other: the containers are made second, and handed in here before the first call. */
  useContainers(containers: PodContainers): void {
    this.#containers = containers;
  }

  /** For `recovery/`: the insides that a start needs. */
  get env(): Env {
    return this.#env;
  }

  get retries(): CniRetries {
    return this.#env.retries;
  }

  /**
   * Makes a pod. A call with the name of one that is being made waits for that one; with the name of one that is ready, returns its id.
   *
   * @returns the id
   * @throws see `runPodSandbox`; already-exists when a pod of this name and attempt is there but not ready
   */
  async run(request: RunRequest, options: { signal: AbortSignal }): Promise<string> {
    const name = reservedName(request.config);
    try {
      return await this.#runs.run(name, ({ signal }) => this.#runOrFind(name, request, signal), options);
    } catch (error) {
      const underWay = this.#byName(name)?.timeline.underWay() ?? "";
      if (!options.signal.aborted || underWay === "") throw error;
      throw CridError.from(error, `run pod sandbox ${request.config.namespace}/${request.config.name}: under way: ${underWay}`);
    }
  }

  async #runOrFind(name: string, request: RunRequest, signal: AbortSignal): Promise<string> {
    const before = this.#byName(name);
    if (before?.ready === true) return before.id;
    if (before !== undefined && before.record.state === "not-ready") {
      throw new CridError(
        "already-exists",
        `pod sandbox ${before.title} has this name and attempt but is not ready; remove it, or raise the attempt`,
      );
    }
    // Left by a daemon that died; recovery is at it or will be. Undo it now, so that its ports and addresses are free.
    if (before !== undefined) await this.remove(before.id, { signal });
    return runPodSandbox(this.#env, request, { signal });
  }

  /** Stops its containers, its network and its process. Succeeds when it is stopped already or does not exist. */
  async stop(id: string, options: { signal: AbortSignal }): Promise<void> {
    const pod = this.find(id);
    if (pod === undefined) return;
    using _lock = await this.#env.locks.acquire(pod.id, options);
    if (this.#env.pods.has(pod.id)) await stopPod(this.#env, pod, options);
  }

  /** Stops it if it runs and removes everything of it, its containers included. Succeeds when it does not exist. */
  async remove(id: string, options: { signal: AbortSignal }): Promise<void> {
    const pod = this.find(id);
    if (pod === undefined) return;
    using _lock = await this.#env.locks.acquire(pod.id, options);
    if (this.#env.pods.has(pod.id)) await removePod(this.#env, pod, options);
  }

  /** @throws not-found, invalid-argument (ambiguous prefix) */
  get(id: string): Pod {
    const pod = this.find(id);
    if (pod === undefined) throw new CridError("not-found", `pod sandbox "${id}" not found`);
    return pod;
  }

  /** @throws invalid-argument when the prefix fits several */
  find(id: string): Pod | undefined {
    const exact = this.#env.pods.get(id);
    if (exact !== undefined || id === "") return exact;
    const fitting = [...this.#env.pods.values()].filter((pod) => pod.id.startsWith(id));
    if (fitting.length > 1) throw new CridError("invalid-argument", `pod sandbox "${id}": ${fitting.length} ids begin with it`);
    return fitting[0];
  }

  /** From memory, oldest first. Pods that are being made are not shown: they have no id yet for anyone. */
  list(filter: SandboxFilter = {}): SandboxView[] {
    return listPods(this.#env.pods.values(), filter);
  }

  /** Every pod that is shown, as a plugin that is new is told of it. */
  listForPlugins(): PodSandbox[] {
    return this.list().map(({ id }) => this.get(id).forPlugins());
  }

  /** @throws not-found */
  status(id: string): SandboxStatus {
    return statusOf(this.get(id).record);
  }

  /** @throws not-found */
  verbose(id: string): Record<string, unknown> {
    const pod = this.get(id);
    return verboseOf(pod.record, { bundle: pod.files.bundle, timeline: pod.timeline.steps });
  }

  /** The kubelet tells what the whole pod may use now (it has written the pod's cgroup itself). @throws not-found */
  async updateResources(
    id: string,
    change: { overhead?: LinuxResources; resources?: LinuxResources },
    options: { signal: AbortSignal },
  ): Promise<void> {
    const pod = this.get(id);
    using _lock = await this.#env.locks.acquire(pod.id, options);
    await updateWithPlugins(this.#env, pod, change, () => pod.update({ config: { ...pod.config, ...change } }), options);
  }

  /** How many pods are in which state, for the metrics. */
  countByState(): Record<string, number> {
    const counts: Record<string, number> = { creating: 0, ready: 0, "not-ready": 0 };
    for (const { record } of this.#env.pods.values()) counts[record.state] = (counts[record.state] ?? 0) + 1;
    return counts;
  }

  /** Undoes what is half made, stops watching, drops the connections. Pods live on. */
  async close(): Promise<void> {
    const reason = new CridError("canceled", "the daemon stops");
    await this.#runs.close(reason);
    this.#env.closing.abort(reason);
    await this.#env.retries.close();
    for (const pod of this.#env.pods.values()) pod.disconnect();
  }

  #byName(name: string): Pod | undefined {
    for (const pod of this.#env.pods.values()) if (pod.record.reservedName === name) return pod;
    return undefined;
  }
}
