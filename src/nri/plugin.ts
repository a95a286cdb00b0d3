import type { Duplex } from "node:stream";
import { Client, Code, Server, TtrpcError } from "ttrpc-node";
import { CridError, isKind, messageOf } from "../base/errors.ts";
import { raceAbort } from "../base/keyed-mutex.ts";
import type { Logger } from "../base/log.ts";
import { linkSignals } from "../base/signals.ts";
import { callError, isLost } from "./call-error.ts";
import { ALL_EVENTS, EVENT_NUMBERS, type EventName, isNotification, subscribes } from "./events.ts";
import { type Container, type ContainerEviction, type ContainerUpdate, type PodSandbox, v1 } from "./messages.ts";
import { Multiplexer, PLUGIN_SERVICE, RUNTIME_SERVICE } from "./multiplexer.ts";
import { checkIndex, checkName } from "./plugin-name.ts";
import { METHODS, type Method, NRI_VERSION, PLUGIN_RPC, RUNTIME_RPC } from "./rpc.ts";
import { sendInParts } from "./synchronize.ts";

/** How many UpdateContainers of one plugin may be under way: more is a flood. */
const MAX_UPDATES_UNDER_WAY = 64;
/** ttrpc's limit, less what stands around a request: service, method, deadline. */
const MAX_MESSAGE = (4 << 20) - 1024;

export interface PluginOptions {
  /** A pre-installed plugin's; what an external one says when it registers. */
  identity?: { index: string; name: string; config: string };
  registrationTimeoutMs: number;
  requestTimeoutMs: number;
  runtime: { name: string; version: string };
  /** What it asks for by itself. @returns the updates that failed */
  onUpdates(updates: ContainerUpdate[], evictions: ContainerEviction[]): Promise<ContainerUpdate[]>;
  onCall(call: { plugin: string; event: string; seconds: number; result: "ok" | "error" | "cut-off" }): void;
  log: Logger;
}

/** One plugin over its connection, from its registration on. */
export class Plugin {
  readonly #options: PluginOptions;
  readonly #mux: Multiplexer;
  readonly #client: Client;
  readonly #server: Server;
  readonly #registered = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<CridError>();
  /** RPCs that this plugin is too old to know. */
  readonly #unknown = new Set<string>();
  #identity: { index: string; name: string } | undefined;
  #state: "new" | "registered" | "ready" | "closed" = "new";
  #events = 0;
  #updatesUnderWay = 0;
  #policy = { failRequest: false, keepConnected: false };

  constructor(connection: Duplex, options: PluginOptions) {
    this.#options = options;
    this.#identity = options.identity;
    this.#mux = new Multiplexer(connection, [PLUGIN_SERVICE, RUNTIME_SERVICE], (error) => this.cutOff(error));
    this.#client = new Client(this.#mux.channel(PLUGIN_SERVICE));
    this.#server = new Server();
    this.#server.register(RUNTIME_RPC, {
      RegisterPlugin: (payload) => this.#register(payload),
      UpdateContainers: (payload) => this.#updateContainers(payload),
    });
    this.#server.serve(this.#mux.channel(RUNTIME_SERVICE));
    this.#registered.promise.catch(() => {});
    void this.#client.closed.then(() => this.cutOff(new CridError("unavailable", "it closed the connection")));
  }

  /** `NN-name`; before an external plugin has registered: "unregistered". */
  get name(): string {
    return this.#identity === undefined ? "unregistered" : `${this.#identity.index}-${this.#identity.name}`;
  }

  get index(): string {
    return this.#identity?.index ?? "";
  }

  get baseName(): string {
    return this.#identity?.name ?? "";
  }

  get open(): boolean {
    return this.#state !== "closed";
  }

  /** Resolves with the reason when it is cut off, or went by itself. */
  get closed(): Promise<CridError> {
    return this.#closed.promise;
  }

  wants(event: EventName): boolean {
    return this.#state === "ready" && subscribes(this.#events, event);
  }

  /**
   * Waits for its registration, then configures it.
   *
   * @throws deadline-exceeded, unavailable (it went), invalid-argument (its name, its events), and what its Configure answers; it is cut off then
   */
  async start(options: { signal: AbortSignal }): Promise<void> {
    const { registrationTimeoutMs, requestTimeoutMs, runtime, identity } = this.#options;
    try {
      using link = linkSignals({ signals: [options.signal], timeoutMs: registrationTimeoutMs, step: "wait for its registration" });
      await raceAbort(this.#registered.promise, link.signal);
      const request = {
        config: identity?.config ?? "",
        runtimeName: runtime.name,
        runtimeVersion: runtime.version,
        registrationTimeout: BigInt(registrationTimeoutMs),
        requestTimeout: BigInt(requestTimeoutMs),
        NRIVersion: NRI_VERSION,
      };
      const { events, failurePolicy } = await this.#call(METHODS.Configure, request, { ...options, timeoutMs: requestTimeoutMs });
      if ((events & ~ALL_EVENTS) !== 0)
        throw new CridError("invalid-argument", `it subscribes to events that do not exist: 0x${(events >>> 0).toString(16)}`);
      this.#events = events === 0 ? ALL_EVENTS : events;
      if (failurePolicy) this.#policy = failurePolicy;
      this.#state = "ready";
    } catch (error) {
      const failure = CridError.from(error);
      this.cutOff(failure);
      throw failure;
    }
  }

  /** Tells it of everything there is, in parts where that is too much for one message. @throws as `start`; it is cut off then */
  async synchronize(
    pods: readonly PodSandbox[],
    containers: readonly Container[],
    options: { signal: AbortSignal },
  ): Promise<ContainerUpdate[]> {
    // Longer than a request: it is part of coming up, and may be much.
    const timeoutMs = Math.max(this.#options.registrationTimeoutMs, this.#options.requestTimeoutMs);
    try {
      return await sendInParts(pods, containers, (request) => this.#call(METHODS.Synchronize, request, { ...options, timeoutMs }));
    } catch (error) {
      const failure = CridError.from(error, "synchronize");
      this.cutOff(failure);
      throw failure;
    }
  }

  /**
   * Asks or tells it. One that does not answer in time, or whose connection breaks, is cut off (unless its policy says otherwise), and
   * the request goes on without it.
   *
   * @returns undefined when it could not be asked, and its policy does not mind
   * @throws what it answered; the signal's reason; unavailable or deadline-exceeded where its policy is to fail requests
   */
  async ask<Q, A>(event: EventName, method: Method<Q, A>, request: Q, options: { signal: AbortSignal }): Promise<A | undefined> {
    const { log, requestTimeoutMs } = this.#options;
    try {
      return await this.#call(method, request, { ...options, timeoutMs: requestTimeoutMs });
    } catch (error) {
      options.signal.throwIfAborted();
      const failure = CridError.from(error, `plugin ${this.name}, ${event}`);
      if (!isLost(failure)) throw failure;
      if (!isKind(failure, "deadline-exceeded") || !this.#policy.keepConnected) this.cutOff(failure);
      if (this.#policy.failRequest) throw failure;
      log.warn({ plugin: this.name, event, err: failure }, "going on without the NRI plugin's answer");
      return undefined;
    }
  }

  /** A reply that must not be: it is cut off, and the request treated as if it had not answered. @throws where its policy is to fail requests */
  refuseReply(event: EventName, why: string): undefined {
    const failure = new CridError("failed-precondition", `plugin ${this.name}, ${event}: ${why}`);
    this.cutOff(failure);
    if (this.#policy.failRequest) throw failure;
    return undefined;
  }

  /** Ends the connection. The first reason counts; nothing happens the second time. */
  cutOff(reason: CridError): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#registered.reject(reason);
    this.#client.close();
    void this.#server.close({ signal: AbortSignal.abort() }).catch(() => {});
    this.#mux.close();
    this.#closed.resolve(reason);
  }

  /** Says goodbye to it: the runtime stops. */
  async shutDown(options: { signal: AbortSignal }): Promise<void> {
    if (this.#state !== "ready") return;
    await this.#call(METHODS.Shutdown, {}, { ...options, timeoutMs: this.#options.requestTimeoutMs }).catch(() => {});
    this.cutOff(new CridError("canceled", "the runtime stops"));
  }

  async #call<Q, A>(method: Method<Q, A>, request: Q, options: { signal: AbortSignal; timeoutMs: number }): Promise<A> {
    const started = performance.now();
    const report = (result: "ok" | "error" | "cut-off"): void =>
      this.#options.onCall({ plugin: this.name, event: method.name, seconds: (performance.now() - started) / 1000, result });
    try {
      const answer = method.answer.decode(await this.#send(method, request, options));
      report("ok");
      return answer;
    } catch (error) {
      const failure = callError(error);
      report(isLost(failure) ? "cut-off" : "error");
      throw failure;
    }
  }

  async #send<Q, A>(method: Method<Q, A>, request: Q, options: { signal: AbortSignal; timeoutMs: number }): Promise<Uint8Array> {
    if (this.#unknown.has(method.name)) return this.#sendStateChange(method.name, request, options);
    const payload = method.request.encode(request).finish();
    if (payload.length > MAX_MESSAGE)
      throw new CridError("resource-exhausted", `a request of ${payload.length} bytes is more than ttrpc can carry`);
    try {
      return await this.#client.call(PLUGIN_RPC, method.name, payload, options);
    } catch (error) {
      if (!(error instanceof TtrpcError) || error.code !== Code.UNIMPLEMENTED || !isOldNotification(method.name)) throw error;
      this.#unknown.add(method.name);
      return this.#sendStateChange(method.name, request, options);
    }
  }

  async #sendStateChange(name: string, request: unknown, options: { signal: AbortSignal; timeoutMs: number }): Promise<Uint8Array> {
    const { pod, container } = request as { pod?: PodSandbox; container?: Container };
    const event = EVENT_NUMBERS[name as EventName];
    const payload = v1.StateChangeEvent.encode({ event, ...(pod && { pod }), ...(container && { container }) }).finish();
    await this.#client.call(PLUGIN_RPC, "StateChange", payload, options);
    return new Uint8Array(0);
  }

  #register(payload: Uint8Array): Uint8Array {
    const { pluginName, pluginIdx, NRIVersion } = v1.RegisterPluginRequest.decode(payload);
    try {
      if (this.#state !== "new") throw new CridError("failed-precondition", "it registered a second time over the same connection");
      if (this.#options.identity === undefined) {
        checkName(pluginName);
        checkIndex(pluginIdx);
        this.#identity = { index: pluginIdx, name: pluginName };
      }
    } catch (error) {
      // After the answer is on its way: it says why.
      setImmediate(() => this.cutOff(CridError.from(error)));
      throw new TtrpcError(Code.INVALID_ARGUMENT, messageOf(error));
    }
    this.#options.log.info({ plugin: this.name, nriVersion: NRIVersion || "unknown" }, "NRI plugin registered");
    this.#state = "registered";
    this.#registered.resolve();
    return v1.Empty.encode({}).finish();
  }

  async #updateContainers(payload: Uint8Array): Promise<Uint8Array> {
    if (this.#state !== "ready") throw new TtrpcError(Code.FAILED_PRECONDITION, "the plugin is not configured yet");
    if (this.#updatesUnderWay >= MAX_UPDATES_UNDER_WAY) {
      this.cutOff(new CridError("resource-exhausted", `it asked for updates again while ${MAX_UPDATES_UNDER_WAY} were under way`));
      throw new TtrpcError(Code.RESOURCE_EXHAUSTED, "too many updates under way");
    }
    this.#updatesUnderWay++;
    try {
      const { update, evict } = v1.UpdateContainersRequest.decode(payload);
      const failed = await this.#options.onUpdates(update, evict);
      return v1.UpdateContainersResponse.encode({ failed }).finish();
    } finally {
      this.#updatesUnderWay--;
    }
  }
}

function isOldNotification(name: string): boolean {
  return name in EVENT_NUMBERS && isNotification(name as EventName);
}
