import { join } from "node:path";
import type { Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { CridError, isKind, messageOf } from "../base/errors.ts";
import { raceAbort } from "../base/keyed-mutex.ts";
import type { Logger } from "../base/log.ts";
import { linkSignals } from "../base/signals.ts";
import { readAttachment } from "./attach-reader.ts";
import { holdPipes } from "./hold-pipes.ts";
import { connectTo, type LoggerConnection } from "./logger-connection.ts";
import { connectOrStart } from "./logger-process.ts";
import { LOGGER_SOCKET, type LoggerMethod, type LoggerMethods, type LoggerStats, type LogSpec, PROTOCOL_VERSION } from "./protocol.ts";

const CONNECT_TIMEOUT_MS = 15_000;
const RESTART_DELAYS_MS = [0, 100, 500, 2_000, 5_000];

/**
 * The daemon's side of the logger process. Every call connects, or starts the logger, when need be. If the logger
 * dies while the daemon runs it is started again, and gets back every container that this client knows; the shims hold the
 * fifos, so the output waits in them.
 */
export class LoggerClient {
  readonly #options: { stateDir: string; command: readonly string[]; log: Logger; maxLineSize: number };
  readonly #socketPath: string;
  /** What a new logger must be told: the containers that are open. */
  readonly #known = new Map<string, { spec: LogSpec; created: boolean; pipes: Disposable }>();
  #connection: LoggerConnection | undefined;
  #connecting: Promise<LoggerConnection> | undefined;
  #disconnected = false;

  /** @param options.command argv that runs the logger of `stateDir`. @param options.maxLineSize bytes; longer lines are split. */
  constructor(options: { stateDir: string; command: readonly string[]; log: Logger; maxLineSize: number }) {
    this.#options = options;
    this.#socketPath = join(options.stateDir, LOGGER_SOCKET);
  }

  /** Connects to the running logger, or starts one. One of another protocol version is replaced, without loss of output. */
  async ensureRunning(options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#connect(options.signal);
  }

  /**
   * Opens the log and the fifos, which must exist. To be called before the shim's Create. Repeating it for an open id changes
   * nothing.
   *
   * @param options.logPath "" for no log. @param options.stderr "" with a terminal.
   * @throws CridError naming the path that could not be opened.
   */
  async open(
    options: { id: string; logPath: string; stdout: string; stderr: string; tty: boolean },
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<void> {
    const { id, logPath, stdout, stderr, tty } = options;
    const spec: LogSpec = { id, logPath, stdout, stderr, tty, maxLineSize: this.#options.maxLineSize };
    await this.#call("open", { spec }, signal);
    if (!this.#known.has(id)) this.#know(spec, false);
  }

  /** The shim's Create has returned: from now on the end of the last writer is the end of the output. */
  async created(id: string, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#call("created", { id }, signal);
    const known = this.#known.get(id);
    if (known !== undefined) known.created = true;
  }

  /** Waits until all output is in the log file. False when it has not ended within the time: a child keeps the pipe open. */
  async drained(id: string, { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal }): Promise<boolean> {
    const drained = await this.#call("drained", { id, timeoutMs }, signal);
    if (drained) this.#known.get(id)?.pipes[Symbol.dispose]();
    return drained;
  }

  /**
   * The log file was renamed: go on in a new one, at `logPath` or the old path. It exists when this returns, and the renamed one is
   * complete.
   *
   * @throws CridError `not-found` for an unknown id; whatever kept the new file from being opened, and then the old one is still used.
   */
  async reopen(id: string, logPath?: string, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#call("reopen", { id, logPath }, signal);
    const known = this.#known.get(id);
    if (known !== undefined && logPath !== undefined) known.spec = { ...known.spec, logPath };
  }

  /** Forgets the container: its log is closed, its attachments end. An unknown id is fine. */
  async close(id: string, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    this.#forget(id);
    await this.#call("close", { id }, signal);
  }

  /** The ids that the logger has open. */
  async list({ signal }: { signal?: AbortSignal } = {}): Promise<string[]> {
    const all = await this.#call("list", {}, signal);
    return all.map(({ id }) => id);
  }

  stats({ signal }: { signal?: AbortSignal } = {}): Promise<LoggerStats> {
    return this.#call("stats", {}, signal);
  }

  /**
   * Passes the container's output from now on to the writables; several may be attached. Resolves at the end of the output; does not end
   * the writables. They set the pace, down to a standstill of a few seconds: then the logger ends the attachment, so that the container
   * is never held for good.
   *
   * @throws CridError `not-found`; `aborted` when given up for slowness; the signal's reason; a writable's error.
   */
  async attach(
    id: string,
    options: { stdout?: Writable | undefined; stderr?: Writable | undefined; onAttached?: (() => void) | undefined; signal: AbortSignal },
  ): Promise<void> {
    const { stdout, stderr, onAttached, signal } = options;
    await this.#connect(signal);
    const socket = await connectTo(this.#socketPath, { signal });
    socket.write(`${JSON.stringify({ seq: 0, method: "attach", id, stdout: stdout !== undefined, stderr: stderr !== undefined })}\n`);
    await readAttachment(socket, { stdout, stderr }, { signal, onAttached });
  }

  /** Lets go of the logger and leaves it running: the daemon ends, the containers' output must not. */
  disconnect(): void {
    this.#disconnected = true;
    for (const id of this.#known.keys()) this.#forget(id);
    this.#connection?.close();
  }

  /** Ends the logger. Output that comes afterwards waits in the fifos. For tests and for `npm start`; a daemon never does this. */
  async shutdown(): Promise<void> {
    this.#disconnected = true;
    for (const id of this.#known.keys()) this.#forget(id);
    const connection = this.#connection ?? (await this.#connecting?.catch(() => undefined));
    if (connection === undefined) return;
    await stop(connection);
  }

  async #call<M extends LoggerMethod>(
    method: M,
    params: LoggerMethods[M]["params"],
    signal: AbortSignal | undefined,
  ): Promise<LoggerMethods[M]["result"]> {
    const connection = await this.#connect(signal);
    try {
      return await connection.call(method, params, { signal });
    } catch (error) {
      // Each method can be repeated, so a logger that died under the call costs a second attempt and no more.
      if (!isKind(error, "unavailable") || !connection.isClosed || this.#disconnected) throw error;
      const again = await this.#connect(signal);
      return again.call(method, params, { signal });
    }
  }

  async #connect(signal: AbortSignal | undefined): Promise<LoggerConnection> {
    if (this.#connection !== undefined && !this.#connection.isClosed) return this.#connection;
    if (this.#disconnected) throw new CridError("unavailable", "logger: the daemon has let go of it");
    // Shared by all that wait, so it has a clock of its own and not the signal of one of them.
    this.#connecting ??= this.#open().finally(() => {
      this.#connecting = undefined;
    });
    return raceAbort(this.#connecting, signal);
  }

  async #open(): Promise<LoggerConnection> {
    using limit = linkSignals({ timeoutMs: CONNECT_TIMEOUT_MS, step: "connect to the logger" });
    const { signal } = limit;
    let { connection, started } = await connectOrStart(this.#options, { signal });
    const { version, pid } = await connection.call("hello", {}, { signal });
    if (version !== PROTOCOL_VERSION) {
      this.#options.log.info({ pid, version, wanted: PROTOCOL_VERSION }, "the running logger speaks another protocol; replacing it");
      await this.#learn(connection, signal);
      await stop(connection);
      ({ connection, started } = await connectOrStart(this.#options, { signal }));
    }
    this.#options.log.info({ pid, started }, started ? "logger started" : "logger found running");
    if (started) await this.#restore(connection, signal);
    else await this.#learn(connection, signal);
    this.#connection = connection;
    void connection.closed.then(() => this.#lost());
    return connection;
  }

  /** What the logger has open must survive its death as well as what this daemon opened. */
  async #learn(connection: LoggerConnection, signal: AbortSignal): Promise<void> {
    for (const { created, drained, ...spec } of await connection.call("list", {}, { signal })) {
      if (!this.#known.has(spec.id)) this.#know(spec, created);
      if (drained) this.#known.get(spec.id)?.pipes[Symbol.dispose]();
    }
  }

  async #restore(connection: LoggerConnection, signal: AbortSignal): Promise<void> {
    for (const { spec, created } of this.#known.values()) {
      try {
        await connection.call("open", { spec }, { signal });
        if (created) await connection.call("created", { id: spec.id }, { signal });
      } catch (error) {
        this.#options.log.warn({ container: spec.id, err: error }, "the new logger could not take over the container's output");
        if (connection.isClosed) throw error;
      }
    }
  }

  async #lost(): Promise<void> {
    this.#connection = undefined;
    for (const ms of RESTART_DELAYS_MS) {
      if (this.#disconnected) return;
      this.#options.log.warn("the logger went away; starting it again");
      try {
        await delay(ms, undefined, { ref: false });
        await this.#connect(undefined);
        return;
      } catch (error) {
        this.#options.log.error({ err: error }, `the logger does not start: ${messageOf(error)}`);
      }
    }
  }

  #know(spec: LogSpec, created: boolean): void {
    this.#known.set(spec.id, { spec, created, pipes: holdPipes([spec.stdout, spec.stderr]) });
  }

  #forget(id: string): void {
    this.#known.get(id)?.pipes[Symbol.dispose]();
    this.#known.delete(id);
  }
}

/** Asks the logger to end and waits until it has let go of its socket. */
async function stop(connection: LoggerConnection): Promise<void> {
  await connection.call("shutdown", {}).catch((error: unknown) => {
    if (!isKind(error, "unavailable")) throw error;
  });
  await connection.closed;
}
