import { createServer, type Server, type Socket } from "node:net";
import { assertNever, CridError, messageOf } from "../../base/errors.ts";
import { LineReader, type LoggerAnswer, type LoggerRequest, MAX_REQUEST_BYTES, PROTOCOL_VERSION } from "../protocol.ts";
import type { ContainerLogs } from "./containers.ts";

/** Serves the protocol of protocol.ts on the logger's socket. */
export class ControlServer {
  readonly #logs: ContainerLogs;
  readonly #server: Server;
  readonly #connections = new Set<Socket>();
  readonly #onShutdown: () => void;
  readonly #version: number;

  /** @param options.onShutdown called after the answer to `shutdown` was sent. @param options.version of the protocol, for tests. */
  constructor(options: { logs: ContainerLogs; onShutdown: () => void; version?: number | undefined }) {
    this.#version = options.version ?? PROTOCOL_VERSION;
    this.#logs = options.logs;
    this.#onShutdown = options.onShutdown;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  /** The socket's file is made with mode 0600 by the caller's umask. */
  async listen(path: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject);
    this.#server.listen({ path, backlog: 128 }, resolve);
    await promise;
    this.#server.off("error", reject);
    this.#server.on("error", () => {});
  }

  /** Takes no more connections; open ones are ended, with what waits for them. */
  close(): void {
    this.#server.close();
    for (const socket of this.#connections) socket.destroySoon();
  }

  #serve(socket: Socket): void {
    const lines = new LineReader(MAX_REQUEST_BYTES);
    this.#connections.add(socket);
    socket.on("close", () => this.#connections.delete(socket));
    socket.on("error", () => {});
    const onData = (chunk: Buffer): void => {
      try {
        for (const line of lines.push(chunk)) {
          const request = JSON.parse(line) as LoggerRequest;
          if (request.method === "attach") {
            socket.off("data", onData);
            this.#attach(socket, request);
            return;
          }
          void this.#answer(socket, request);
        }
      } catch {
        // Not our protocol, or a line without end: there is no request to answer.
        socket.destroy();
      }
    };
    socket.on("data", onData);
  }

  #attach(socket: Socket, request: LoggerRequest & { method: "attach" }): void {
    try {
      this.#logs.require(request.id);
    } catch (error) {
      send(socket, { seq: request.seq, error: toAnswer(error) });
      socket.end();
      return;
    }
    send(socket, { seq: request.seq, result: null });
    this.#logs.attach(request.id, socket, { stdout: request.stdout, stderr: request.stderr });
  }

  async #answer(socket: Socket, request: LoggerRequest): Promise<void> {
    const { seq } = request;
    try {
      const result = await this.#call(request);
      send(socket, { seq, result });
    } catch (error) {
      send(socket, { seq, error: toAnswer(error) });
    }
    if (request.method === "shutdown") this.#onShutdown();
  }

  async #call(request: LoggerRequest): Promise<unknown> {
    switch (request.method) {
      case "hello":
        return { version: this.#version, pid: process.pid };
      case "open":
        await this.#logs.open(request.spec);
        return null;
      case "created":
        this.#logs.created(request.id);
        return null;
      case "drained":
        return this.#logs.drained(request.id, request.timeoutMs);
      case "reopen":
        await this.#logs.reopen(request.id, request.logPath);
        return null;
      case "close":
        await this.#logs.close(request.id);
        return null;
      case "list":
        return this.#logs.list();
      case "stats":
        return this.#logs.stats();
      case "shutdown":
        // Closed before the answer: who asked may start another logger, which must not read the same fifos at the same time.
        await this.#logs.closeAll();
        return null;
      case "attach":
        throw new CridError("invalid-argument", "attach needs a connection of its own");
      default:
        return assertNever(request, "logger request");
    }
  }
}

function send(socket: Socket, answer: LoggerAnswer): void {
  if (!socket.destroyed) socket.write(`${JSON.stringify(answer)}\n`);
}

function toAnswer(error: unknown): { kind: CridError["kind"]; message: string } {
  return { kind: CridError.from(error).kind, message: messageOf(error) };
}
