import { connect, type Socket } from "node:net";
import { CridError } from "../base/errors.ts";
import { raceAbort } from "../base/keyed-mutex.ts";
import { LineReader, type LoggerAnswer, type LoggerMethod, type LoggerMethods } from "./protocol.ts";

/** `list` of some thousand containers fits. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/** The daemon's control connection to the logger. */
export class LoggerConnection {
  readonly #socket: Socket;
  readonly #calls = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  readonly #closed = Promise.withResolvers<void>();
  #sequence = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    const lines = new LineReader(MAX_ANSWER_BYTES);
    socket.on("data", (chunk: Buffer) => {
      try {
        for (const line of lines.push(chunk)) this.#settle(JSON.parse(line) as LoggerAnswer);
      } catch (error) {
        socket.destroy(error instanceof Error ? error : undefined);
      }
    });
    let reason = "it closed the connection";
    socket.on("error", (error) => {
      reason = error.message;
    });
    socket.on("close", () => {
      for (const call of this.#calls.values()) call.reject(new CridError("unavailable", `logger: ${reason}`));
      this.#calls.clear();
      this.#closed.resolve();
    });
  }

  /** @throws the socket's error (ENOENT, ECONNREFUSED) when no logger listens. */
  static async open(path: string, options: { signal?: AbortSignal } = {}): Promise<LoggerConnection> {
    return new LoggerConnection(await connectTo(path, options));
  }

  /** Resolves when the connection is gone. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  get isClosed(): boolean {
    return this.#socket.destroyed;
  }

  /** @throws CridError of the logger's kind, or `unavailable` when the connection is lost; the signal's reason when it aborts. */
  async call<M extends LoggerMethod>(
    method: M,
    params: LoggerMethods[M]["params"],
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<LoggerMethods[M]["result"]> {
    if (this.isClosed) throw new CridError("unavailable", "logger: it closed the connection");
    const seq = ++this.#sequence;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#calls.set(seq, { resolve, reject });
    this.#socket.write(`${JSON.stringify({ seq, method, ...params })}\n`);
    try {
      return (await raceAbort(promise, options.signal)) as LoggerMethods[M]["result"];
    } finally {
      this.#calls.delete(seq);
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #settle(answer: LoggerAnswer): void {
    const call = this.#calls.get(answer.seq);
    if (call === undefined) return;
    if (answer.error === undefined) call.resolve(answer.result);
    else call.reject(new CridError(answer.error.kind, answer.error.message));
  }
}

/** A connected unix socket. */
export async function connectTo(path: string, options: { signal?: AbortSignal } = {}): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect(path, resolve);
  socket.once("error", reject);
  try {
    await raceAbort(promise, options.signal);
  } catch (error) {
    promise.catch(() => {});
    socket.destroy();
    throw error;
  } finally {
    socket.off("error", reject);
    socket.on("error", () => {});
  }
  return socket;
}
