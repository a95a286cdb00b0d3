import { connect, type Socket } from "node:net";
import { Client, Server } from "ttrpc-node";
import { EVENT_NUMBERS, type EventName } from "./events.ts";
import { type ContainerEviction, type ContainerUpdate, v1 } from "./messages.ts";
import { Multiplexer, PLUGIN_SERVICE, RUNTIME_SERVICE } from "./multiplexer.ts";
import { METHODS, type Method, PLUGIN_RPC, RUNTIME_RPC } from "./rpc.ts";
import type { SyncRequest } from "./synchronize.ts";

type Request<N extends keyof typeof METHODS> = (typeof METHODS)[N] extends Method<infer Q, infer _A> ? Q : never;

/** What a plugin of a test does; what it does not name it answers with nothing set. */
export interface TestPluginOptions {
  name?: string;
  index?: string;
  /** Default: all. */
  events?: readonly EventName[];
  policy?: { failRequest?: boolean; keepConnected?: boolean };
  /** By RPC: gets the request as the wire has it, and answers what is encoded. */
  on?: { [N in keyof typeof METHODS]?: (request: Request<N>, signal: AbortSignal) => object | Promise<object> | undefined };
  /** RPCs that it is too old to know. */
  unknown?: readonly string[];
}

/** An NRI plugin of a test's own, over the same multiplexer. */
export class TestPlugin implements Disposable {
  readonly socket: Socket;
  readonly calls: { method: string; request: unknown }[] = [];
  readonly closed: Promise<void>;
  readonly #options: TestPluginOptions;
  readonly #client: Client;
  #pods: unknown[] = [];

  constructor(path: string, options: TestPluginOptions = {}) {
    this.#options = options;
    this.socket = connect(path);
    this.socket.on("error", () => {});
    this.closed = new Promise((resolve) => this.socket.once("close", () => resolve()));
    const mux = new Multiplexer(this.socket, [PLUGIN_SERVICE, RUNTIME_SERVICE], () => {});
    const server = new Server();
    const known = Object.entries(METHODS).filter(([name]) => !options.unknown?.includes(name));
    server.register(PLUGIN_RPC, {
      StateChange: (payload: Uint8Array) => {
        this.calls.push({ method: "StateChange", request: v1.StateChangeEvent.decode(payload) });
        return v1.Empty.encode({}).finish();
      },
      ...Object.fromEntries(
        known.map(([name, method]) => [
          name,
          (payload: Uint8Array, { signal }: { signal: AbortSignal }) => this.#answer(name, method, payload, signal),
        ]),
      ),
    });
    server.serve(mux.channel(PLUGIN_SERVICE));
    this.#client = new Client(mux.channel(RUNTIME_SERVICE));
  }

  get names(): string[] {
    return this.calls.map(({ method }) => method);
  }

  async register(): Promise<void> {
    const { name = "test", index = "10" } = this.#options;
    const request = v1.RegisterPluginRequest.encode({ pluginName: name, pluginIdx: index, NRIVersion: "v0.12.5" }).finish();
    await this.#client.call(RUNTIME_RPC, "RegisterPlugin", request);
  }

  async update(update: ContainerUpdate[], evict: ContainerEviction[] = []): Promise<ContainerUpdate[]> {
    const request = v1.UpdateContainersRequest.encode({ update, evict }).finish();
    return v1.UpdateContainersResponse.decode(await this.#client.call(RUNTIME_RPC, "UpdateContainers", request)).failed;
  }

  /** Everything that it was told of when it came, over all parts. */
  get synchronized(): unknown[] {
    return this.#pods;
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  async #answer(name: string, method: unknown, payload: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { request: requests, answer } = method as {
      request: { decode(bytes: Uint8Array): unknown };
      answer: Method<unknown, unknown>["request"];
    };
    const request = requests.decode(payload);
    this.calls.push({ method: name, request });
    const handler = this.#options.on?.[name as keyof typeof METHODS] as ((request: unknown, signal: AbortSignal) => unknown) | undefined;
    const own = (await handler?.(request, signal)) as object | undefined;
    return answer.encode(own ?? this.#usual(name, request)).finish();
  }

  #usual(name: string, request: unknown): object {
    if (name === "Synchronize") {
      const { pods, more } = request as SyncRequest;
      this.#pods.push(...pods);
      return { more };
    }
    if (name !== "Configure") return {};
    const { events, policy } = this.#options;
    const mask = (events ?? []).reduce((bits, event) => bits | (1 << (EVENT_NUMBERS[event] - 1)), 0);
    return { events: mask, ...(policy && { failurePolicy: policy }) };
  }
}
