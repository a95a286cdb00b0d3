import { createServer, type Server as NetServer } from "node:net";
import type { Duplex } from "node:stream";
import type { Method } from "./method.ts";
import { ServerConnection } from "./server-connection.ts";

export interface ServerOptions {
  /** Is told what a handler threw, before the caller gets it as a status. */
  onError?: (error: unknown, call: { service: string; method: string }) => void;
}

/** A ttrpc server. Payloads are the encoded messages. */
export class Server implements AsyncDisposable {
  readonly #services = new Map<string, ReadonlyMap<string, Method>>();
  readonly #connections = new Set<ServerConnection>();
  readonly #listeners = new Set<NetServer>();
  readonly #options: ServerOptions;
  #closing = false;

  constructor(options: ServerOptions = {}) {
    this.#options = options;
  }

  /** @throws Error when the service is registered already. */
  register(service: string, methods: Readonly<Record<string, Method>>): void {
    if (this.#services.has(service)) throw new Error(`ttrpc service ${service} is registered twice`);
    this.#services.set(service, new Map(Object.entries(methods)));
  }

  /**
   * Listens on a unix socket and serves whoever connects. The socket file is removed by `close`; one that a dead process left
   * is the caller's to remove.
   *
   * @throws the socket's error (EADDRINUSE, ENOENT, EACCES as `code`).
   */
  async listen(path: string): Promise<void> {
    const listener = createServer((socket) => this.serve(socket));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    listener.once("listening", resolve);
    listener.once("error", reject);
    listener.listen({ path });
    await promise;
    listener.off("error", reject);
    // Accept errors (EMFILE) after this are no reason to end the process: the peer's connect fails or is retried.
    listener.on("error", (error) => this.#options.onError?.(error, { service: "", method: "" }));
    this.#listeners.add(listener);
  }

  /** Serves one connected socket. */
  serve(socket: Duplex): void {
    if (this.#closing) {
      socket.destroy();
      return;
    }
    const connection = new ServerConnection(socket, {
      services: this.#services,
      onError: (error, call) => this.#options.onError?.(error, call),
      onClosed: () => this.#connections.delete(connection),
    });
    this.#connections.add(connection);
  }

  /**
   * Takes no new connections and calls (those get UNAVAILABLE), waits for the calls under way, then closes the connections.
   * When the signal aborts, it closes them at once: handlers see their signal abort.
   */
  async close(options: { signal?: AbortSignal } = {}): Promise<void> {
    this.#closing = true;
    const { signal } = options;
    const force = (): void => {
      for (const connection of this.#connections) connection.destroy();
    };
    signal?.addEventListener("abort", force, { once: true });
    try {
      const listeners = [...this.#listeners].map((listener) => new Promise<void>((done) => void listener.close(() => done())));
      this.#listeners.clear();
      const drained = [...this.#connections].map((connection) => connection.drain());
      if (signal?.aborted) force();
      await Promise.all([...listeners, ...drained]);
    } finally {
      signal?.removeEventListener("abort", force);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close({ signal: AbortSignal.abort() });
  }
}
