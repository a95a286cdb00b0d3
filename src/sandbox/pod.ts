import { CridError } from "../base/errors.ts";
import { shortId } from "../base/ids.ts";
import type { PodContext } from "../container/deps.ts";
import type { PodSandbox } from "../nri/messages.ts";
import { podLabels, type SelinuxLabels } from "../oci/selinux.ts";
import type { PodConfig } from "../records/pod-config.ts";
import type { SandboxRecord } from "../records/sandbox-record.ts";
import type { PodShim, SandboxDeps } from "./deps.ts";
import { type PodDirs, podDirs } from "./dirs.ts";
import { podForPlugins } from "./plugin-view.ts";
import { type RuntimeHandler, runtimeHandler } from "./runtime-handlers.ts";
import { Timeline } from "./timeline.ts";

const CONNECT_TIMEOUT_MS = 5_000;

/** One pod in memory: its record and the connection to its shim. Its containers see it as a PodContext. */
export class Pod implements PodContext {
  readonly id: string;
  readonly files: PodDirs;
  readonly #deps: SandboxDeps;
  #record: SandboxRecord;
  #shim: PodShim | undefined;
  #connecting: Promise<PodShim> | undefined;
  /** How the pod came up. Not kept over a restart. */
  timeline: Timeline;
  /** Plugins have been told that it is stopped, or never knew of it; and the same of its removal. */
  stopTold: boolean;
  removalTold = false;
  /** Ends the exit watch; see watch.ts. */
  readonly watching = new AbortController();

  constructor(record: SandboxRecord, deps: SandboxDeps) {
    this.id = record.id;
    this.#record = record;
    this.#deps = deps;
    // Of a pod that an earlier daemon made: its process is ended after they were told.
    this.stopTold = record.state !== "creating" && record.process === undefined;
    this.files = podDirs(record.id, record.config, deps.settings);
    this.timeline = new Timeline("run-pod-sandbox", deps.onStep);
  }

  get record(): SandboxRecord {
    return this.#record;
  }

  /** The only way a pod's record changes: copy in, new value out; disk, then memory. */
  update(change: Partial<Omit<SandboxRecord, "id" | "reservedName" | "createdAt">>): void {
    const next = { ...this.#record, ...change };
    this.#deps.store.sandboxes.put(next);
    this.#record = next;
  }

  /** For a change that the caller's transaction has written. */
  replaced(next: SandboxRecord): void {
    this.#record = next;
  }

  get config(): PodConfig {
    return this.#record.config;
  }

  /** `namespace/name (id)`, for messages. */
  get title(): string {
    return `${this.config.namespace}/${this.config.name} (${shortId(this.id)})`;
  }

  get runtimeHandler(): string {
    return this.#record.runtimeHandler;
  }

  get ready(): boolean {
    return this.#record.state === "ready";
  }

  get netnsPath(): string {
    return this.#record.netnsPath;
  }

  /** Whether the pod has a user namespace of its own, which then owns its network namespace. */
  get ownUserns(): boolean {
    return this.config.security.namespaces.userns?.mode === "pod";
  }

  get hostNetwork(): boolean {
    return this.config.security.namespaces.network === "node";
  }

  /** 0 when there is none. */
  get pausePid(): number {
    return this.#record.process?.pid ?? 0;
  }

  get dirs(): { resolvConf: string; hostname: string; hosts: string; shm: string } {
    return this.files;
  }

  get selinuxLabel(): string {
    return this.selinuxLabels?.process ?? "";
  }

  /** undefined without SELinux. */
  get selinuxLabels(): SelinuxLabels | undefined {
    return podLabels(this.config.security.selinux, this.#deps.specHost.selinux, this.#record.selinuxLevel ?? "");
  }

  /** Where the binaries of its runtime handler are now. @throws as `runtimeHandler` does */
  get runtime(): RuntimeHandler {
    return runtimeHandler(this.runtimeHandler, this.#deps.settings);
  }

  forPlugins(): PodSandbox {
    return podForPlugins({ record: this.#record, cgroupsPath: this.containerCgroupsPath(this.id) });
  }

  containerCgroupsPath(containerId: string): string {
    return this.#deps.cgroupsPath(this.config.cgroupParent, containerId);
  }

  /** The shim has just been started. */
  attachShim(shim: PodShim): void {
    this.#shim = shim;
    void shim.closed.then(() => {
      if (this.#shim === shim) this.#shim = undefined;
    });
  }

  /** The shim if a connection to it is open. */
  get connected(): PodShim | undefined {
    return this.#shim;
  }

  /**
   * The pod's shim; connects when need be. Callers at the same time share one attempt.
   *
   * @throws unavailable when the shim is dead or was never started
   */
  async shim(options: { signal: AbortSignal; timeoutMs?: number }): Promise<PodShim> {
    if (this.#shim !== undefined) return this.#shim;
    const address = this.#record.process?.shim;
    if (address === undefined) throw new CridError("unavailable", `pod sandbox ${this.title}: it has no shim any more`);
    this.#connecting ??= this.#deps.shims
      .connect(this.id, address, {
        bundle: this.files.bundle,
        signal: options.signal,
        timeoutMs: options.timeoutMs ?? CONNECT_TIMEOUT_MS,
      })
      .then((shim) => {
        this.attachShim(shim);
        return shim;
      })
      .finally(() => {
        this.#connecting = undefined;
      });
    return this.#connecting;
  }

  /** Drops the connection; the shim lives on. */
  disconnect(): void {
    this.watching.abort();
    this.#shim?.close();
    this.#shim = undefined;
  }
}
