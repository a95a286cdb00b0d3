import type { Duplex } from "node:stream";
import { CridError, messageOf } from "../base/errors.ts";
import { Gate } from "../base/gate.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { Logger } from "../base/log.ts";
import { adjustedContainer } from "./adjusted-container.ts";
import { CollectedAdjustments } from "./collect-adjustments.ts";
import { CollectedUpdates } from "./collect-updates.ts";
import { type ValidatorSettings, validate } from "./default-validator.ts";
import type { ContainerEvent, PodEvent } from "./events.ts";
import { type LaunchedPlugin, launchPlugin } from "./launch.ts";
import type {
  Container,
  ContainerAdjustment,
  ContainerEviction,
  ContainerRequest,
  ContainerUpdate,
  LinuxResources,
  PodRequest,
  PodSandbox,
} from "./messages.ts";
import { Owners } from "./owners.ts";
import { Plugin, type PluginOptions } from "./plugin.ts";
import { PluginSocket } from "./plugin-socket.ts";
import { findPreinstalled, type Preinstalled } from "./preinstalled.ts";
import { METHODS } from "./rpc.ts";
import { askValidators } from "./validators.ts";

const SHUTDOWN_TIMEOUT_MS = 2_000;
/** External connections that have not registered yet. */
const MAX_UNREGISTERED = 64;

export interface NriOptions {
  socket: string;
  /** Serve no external plugins. */
  disableConnections: boolean;
  pluginPath: string;
  pluginConfigPath: string;
  registrationTimeoutMs: number;
  requestTimeoutMs: number;
  validator: ValidatorSettings;
  runtime: { name: string; version: string };
  log: Logger;
  onCall: PluginOptions["onCall"];
  /** A plugin is gone; `reason` is the kind of the error. */
  onCutOff(plugin: string, reason: string): void;
}

/** What plugins see of the runtime and do to it, by itself and not in answer to a request. */
export interface PluginTargets {
  /** Ready pods and the containers that are created or running. */
  list(): Promise<{ pods: PodSandbox[]; containers: Container[] }>;
  /** @throws what keeps the container from being updated; not-found */
  update(id: string, resources: LinuxResources): Promise<void>;
  /** Ends a container. */
  evict(id: string, reason: string): Promise<void>;
}

/**
 * The node's NRI plugins: those of the directory, and those that connect. Every event goes to all that subscribe to it, in the order of their
 * indices; one request after the other, so that all plugins see one order of events.
 *
 * Nothing becomes known to plugins while one is being told of what there is: whoever makes a pod or container enters before the first event
 * and leaves when it can be listed. So a new plugin learns of each exactly once.
 */
export class Nri {
  readonly #options: NriOptions;
  readonly #gate = new Gate();
  readonly #turns = new KeyedMutex();
  readonly #stop = new AbortController();
  readonly #launched: LaunchedPlugin[] = [];
  /** Connections that are coming up. */
  readonly #arriving = new Set<Plugin>();
  readonly #socket: PluginSocket | undefined;
  readonly #targets = Promise.withResolvers<PluginTargets>();
  /** In the order of their indices, and for the same index in that of their arrival. */
  #plugins: Plugin[] = [];
  #synchronizing = 0;
  readonly #preinstalled: readonly Preinstalled[];
  /** Closed until the pre-installed plugins are there: what is created before would miss them. */
  #opening: Promise<Disposable> | undefined;

  private constructor(options: NriOptions, preinstalled: readonly Preinstalled[]) {
    this.#options = options;
    this.#preinstalled = preinstalled;
    if (preinstalled.length > 0) this.#opening = this.#gate.close({ signal: this.#stop.signal });
    this.#socket = options.disableConnections ? undefined : new PluginSocket(options.socket, (socket) => this.#accept(socket));
  }

  /** Looks for the pre-installed plugins; if there are any, nothing is created until `start` has come to its end. */
  static async open(options: NriOptions): Promise<Nri> {
    const { pluginPath, pluginConfigPath, log } = options;
    try {
      return new Nri(options, await findPreinstalled({ plugins: pluginPath, configs: pluginConfigPath }, log));
    } catch (error) {
      log.error({ err: error }, "the pre-installed NRI plugins are not started");
      return new Nri(options, []);
    }
  }

  /** Whether any plugin is there to be told. When not, requests need not be made. */
  get active(): boolean {
    return this.#plugins.length > 0 || this.#synchronizing > 0;
  }

  /** Whether anybody has a say in what is created: plugins, or the built-in validator. */
  get adjusting(): boolean {
    return this.active || this.#options.validator.enable;
  }

  /** Names of the plugins, in their order. */
  get plugins(): string[] {
    return this.#plugins.map(({ name }) => name);
  }

  /**
   * Starts the pre-installed plugins, then lets others connect. Failures are logged: a node without its plugins still runs pods, unless
   * they are required.
   */
  async start(targets: PluginTargets): Promise<void> {
    const { log } = this.#options;
    this.#targets.resolve(targets);
    try {
      const started = await Promise.all(this.#preinstalled.map((plugin) => this.#launch(plugin)));
      const plugins = started.filter((plugin) => plugin !== undefined);
      if (plugins.length > 0) await this.#introduce(plugins, targets);
    } catch (error) {
      log.error({ err: error }, "starting the pre-installed NRI plugins failed");
    } finally {
      (await this.#opening?.catch(() => undefined))?.[Symbol.dispose]();
      this.#opening = undefined;
    }
    try {
      if (!this.#stop.signal.aborted) await this.#socket?.listen();
    } catch (error) {
      log.error({ err: error }, "no NRI plugin can connect");
    }
  }

  /** Waits while a plugin is being told of what there is. @throws the signal's reason */
  async enter(options: { signal: AbortSignal }): Promise<Disposable> {
    return this.#gate.enter(options);
  }

  /** Tells all plugins that want it. The pod events whose failure counts throw; see `Plugin.ask`. */
  async podEvent(
    event: PodEvent,
    request: PodRequest & { overhead?: LinuxResources; resources?: LinuxResources },
    options: { signal: AbortSignal },
  ): Promise<void> {
    const { pod, overhead, resources } = request;
    const message = { pod, ...(overhead && { overheadLinuxResources: overhead }), ...(resources && { linuxResources: resources }) };
    await this.#each(event, options, (plugin) => plugin.ask(event, METHODS[event], message, options));
  }

  /** Tells all plugins that want it. @throws what a plugin answers, when it refuses */
  async containerEvent(
    event: Exclude<ContainerEvent, "CreateContainer" | "UpdateContainer" | "StopContainer">,
    request: ContainerRequest,
    options: { signal: AbortSignal },
  ): Promise<void> {
    await this.#each(event, options, (plugin) => plugin.ask(event, METHODS[event], request, options));
  }

  /**
   * What the plugins want changed of a container before it is made. Changes that they ask of other containers are made.
   *
   * @throws failed-precondition when a plugin refuses it, two plugins set the same, or the validators do not allow what was adjusted
   */
  async createContainer(request: ContainerRequest, options: { signal: AbortSignal }): Promise<ContainerAdjustment> {
    const { pod, container } = request;
    const id = container.id ?? "";
    const owners = new Owners();
    const collected = new CollectedAdjustments(id, owners);
    const updates = new CollectedUpdates(owners);
    const present: Plugin[] = [];
    {
      using _turn = await this.#turns.acquire("", options);
      let seen = container;
      for (const plugin of this.#current()) {
        if (!plugin.wants("CreateContainer")) {
          present.push(plugin);
          continue;
        }
        const answered = await plugin.ask("CreateContainer", METHODS.CreateContainer, { pod, container: seen }, options);
        const answer =
          answered?.update.some(({ containerId }) => containerId === id) === true
            ? plugin.refuseReply("CreateContainer", "it asks to update the container that is being created")
            : answered;
        if (answer === undefined) continue;
        present.push(plugin);
        if (answer.adjust) {
          collected.add(answer.adjust, plugin.name);
          seen = adjustedContainer(container, collected.adjustment);
        }
        updates.add(answer.update, answer.evict, plugin.name);
      }
      const plugins = present.map(({ index, baseName }) => ({ index, name: baseName }));
      const adjusted = { pod, container, adjustment: collected.adjustment, owners, plugins };
      if (this.#options.validator.enable) validate(this.#options.validator, adjusted);
      await askValidators(this.#current(), { ...adjusted, updates: updates.others(id) }, options);
    }
    await this.#apply(updates, id);
    return collected.adjustment;
  }

  /** @returns the limits to set, which plugins may have changed. @throws failed-precondition when a plugin refuses, or two set the same */
  async updateContainer(
    request: ContainerRequest & { resources: LinuxResources },
    options: { signal: AbortSignal },
  ): Promise<LinuxResources> {
    const { pod, container, resources } = request;
    const id = container.id ?? "";
    const updates = new CollectedUpdates(new Owners());
    updates.begin(id, resources);
    await this.#each("UpdateContainer", options, async (plugin) => {
      const message = { pod, container, linuxResources: updates.of(id) };
      const answer = await plugin.ask("UpdateContainer", METHODS.UpdateContainer, message, options);
      if (answer !== undefined) updates.add(answer.update, answer.evict, plugin.name);
    });
    await this.#apply(updates, id);
    return updates.of(id);
  }

  /** The container has ended: its share may go to others. @throws what a plugin answers */
  async stopContainer(request: ContainerRequest, options: { signal: AbortSignal }): Promise<void> {
    const updates = new CollectedUpdates(new Owners());
    await this.#each("StopContainer", options, async (plugin) => {
      const answer = await plugin.ask("StopContainer", METHODS.StopContainer, request, options);
      if (answer !== undefined) updates.add(answer.update, [], plugin.name);
    });
    await this.#apply(updates, request.container.id ?? "");
  }

  async close(): Promise<void> {
    const reason = new CridError("canceled", "the runtime stops");
    this.#stop.abort(reason);
    await this.#socket?.close().catch(() => {});
    const signal = AbortSignal.timeout(SHUTDOWN_TIMEOUT_MS);
    await Promise.all(this.#plugins.map((plugin) => plugin.shutDown({ signal })));
    for (const plugin of [...this.#plugins, ...this.#arriving]) plugin.cutOff(reason);
    this.#plugins = [];
    await Promise.all(this.#launched.map((launched) => launched.end()));
    // Nobody waits at the gate for plugins that will not come.
    (await this.#opening?.catch(() => undefined))?.[Symbol.dispose]();
  }

  #current(): readonly Plugin[] {
    return this.#plugins.filter(({ open }) => open);
  }

  async #each(
    event: PodEvent | ContainerEvent,
    options: { signal: AbortSignal },
    ask: (plugin: Plugin) => Promise<unknown>,
  ): Promise<void> {
    using _turn = await this.#turns.acquire("", options);
    for (const plugin of this.#current()) if (plugin.wants(event)) await ask(plugin);
  }

  async #launch(preinstalled: Preinstalled): Promise<Plugin | undefined> {
    const { log } = this.#options;
    const name = `${preinstalled.index}-${preinstalled.name}`;
    try {
      const launched = launchPlugin(preinstalled, log);
      this.#launched.push(launched);
      const plugin = this.#connect(launched.connection, preinstalled);
      void plugin.closed.then(() => launched.end());
      await plugin.start({ signal: this.#stop.signal });
      return plugin;
    } catch (error) {
      log.error({ plugin: name, err: error }, "a pre-installed NRI plugin does not start");
      return undefined;
    }
  }

  #accept(socket: Duplex): void {
    const { log } = this.#options;
    if (this.#arriving.size >= MAX_UNREGISTERED) {
      log.warn({ limit: MAX_UNREGISTERED }, "too many connections to the NRI socket have not registered; refusing another");
      socket.destroy();
      return;
    }
    const plugin = this.#connect(socket);
    void (async () => {
      try {
        await plugin.start({ signal: this.#stop.signal });
        const targets = await this.#targets.promise;
        using _closed = await this.#gate.close({ signal: this.#stop.signal });
        await this.#introduce([plugin], targets);
      } catch (error) {
        // Why is logged where it is cut off.
        plugin.cutOff(CridError.from(error));
      }
    })();
  }

  #connect(connection: Duplex, identity?: Preinstalled): Plugin {
    const { log } = this.#options;
    const plugin: Plugin = new Plugin(connection, {
      ...this.#options,
      ...(identity && { identity }),
      onUpdates: (updates, evictions) => this.#unsolicited(plugin, updates, evictions),
    });
    this.#arriving.add(plugin);
    void plugin.closed.then((reason) => {
      this.#arriving.delete(plugin);
      const wasThere = this.#plugins.includes(plugin);
      this.#plugins = this.#plugins.filter((other) => other !== plugin);
      this.#options.onCutOff(plugin.name, reason.kind);
      const went = reason.kind === "unavailable" || reason.kind === "canceled";
      log[reason.kind === "canceled" ? "info" : "warn"](
        { plugin: plugin.name, why: messageOf(reason), ready: wasThere },
        went ? "NRI plugin is gone" : "NRI plugin cut off",
      );
    });
    return plugin;
  }

  /** Tells new plugins of what there is and lets them in. The gate is closed. */
  async #introduce(plugins: readonly Plugin[], targets: PluginTargets): Promise<void> {
    const { log } = this.#options;
    const { signal } = this.#stop;
    const updates = new CollectedUpdates(new Owners());
    this.#synchronizing++;
    try {
      const { pods, containers } = await targets.list();
      for (const plugin of plugins) {
        if (!plugin.open) continue;
        try {
          updates.add(await plugin.synchronize(pods, containers, { signal }), [], plugin.name);
        } catch (error) {
          log.warn({ plugin: plugin.name, err: error }, "an NRI plugin could not be told of the pods there are");
          plugin.cutOff(CridError.from(error));
          continue;
        }
        this.#arriving.delete(plugin);
        this.#plugins = [...this.#plugins, plugin].sort((a, b) => (a.index < b.index ? -1 : a.index > b.index ? 1 : 0));
        log.info({ plugin: plugin.name, pods: pods.length, containers: containers.length, order: this.plugins }, "NRI plugin is ready");
      }
    } finally {
      this.#synchronizing--;
    }
    await this.#apply(updates, "");
  }

  async #unsolicited(plugin: Plugin, updates: ContainerUpdate[], evictions: ContainerEviction[]): Promise<ContainerUpdate[]> {
    this.#options.log.debug(
      { plugin: plugin.name, updates: updates.length, evictions: evictions.length },
      "an NRI plugin asks for changes",
    );
    const failed = await this.#update(updates);
    this.#evict(evictions);
    return failed;
  }

  /** Outside of any turn: an update takes its time in the shim. */
  async #apply(updates: CollectedUpdates, id: string): Promise<void> {
    await this.#update(updates.others(id));
    this.#evict(updates.evictions);
  }

  /** @returns those that failed and say that this matters */
  async #update(updates: readonly ContainerUpdate[]): Promise<ContainerUpdate[]> {
    if (updates.length === 0) return [];
    const targets = await this.#targets.promise;
    const failed: ContainerUpdate[] = [];
    for (const update of updates) {
      const { containerId, linux, ignoreFailure } = update;
      if (!linux?.resources) continue;
      try {
        await targets.update(containerId, linux.resources);
      } catch (error) {
        this.#options.log.warn({ container: containerId, err: error }, "an NRI plugin's update of a container failed");
        if (!ignoreFailure) failed.push(update);
      }
    }
    return failed;
  }

  /** Not waited for: it ends with an event of its own. */
  #evict(evictions: readonly ContainerEviction[]): void {
    for (const { containerId, reason } of evictions) {
      void this.#targets.promise
        .then((targets) => targets.evict(containerId, reason))
        .catch((error: unknown) => this.#options.log.warn({ container: containerId, err: error }, "an NRI plugin's eviction failed"));
    }
  }
}
