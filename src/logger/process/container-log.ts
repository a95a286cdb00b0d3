import type { Socket } from "node:net";
import type { LogSpec, LogStatus } from "../protocol.ts";
import { Attachment } from "./attachment.ts";
import type { BufferPool } from "./buffer-pool.ts";
import { CriFormatter, type LogStream } from "./cri-format.ts";
import { FifoSource } from "./fifo-source.ts";
import { LogFile, type LogFileCounts } from "./log-file.ts";
import { RecordClock } from "./record-clock.ts";

/** What all containers' logs share. */
export interface SharedBuffers {
  /** The target of every read: a chunk is formatted and copied before the next read. */
  readBuffer: Uint8Array;
  pool: BufferPool;
  say: (message: string) => void;
}

interface Output {
  stream: LogStream;
  source: FifoSource;
  formatter: CriFormatter;
}

/**
 * One container's output, from its fifos to its log file and to those attached.
 *
 *     open ──created──> created ──every fifo at its end──> ended ──written──> drained
 *       └────────────────────────close (from any state)────────────────────────────> closed
 */
export class ContainerLog {
  readonly #spec: LogSpec;
  readonly #file: LogFile;
  readonly #shared: SharedBuffers;
  readonly #outputs: Output[] = [];
  readonly #attachments = new Set<Attachment>();
  readonly #drained = Promise.withResolvers<void>();
  #created = false;
  #isDrained = false;
  #closed = false;
  #readBytes = 0;

  private constructor(spec: LogSpec, shared: SharedBuffers, file: LogFile) {
    this.#spec = { ...spec };
    this.#shared = shared;
    this.#file = file;
    this.#file.onRoom = () => this.#settlePace();
  }

  /** Opens the log file, then the fifos. @throws CridError naming the path that could not be opened; nothing stays open then. */
  static async open(spec: LogSpec, shared: SharedBuffers): Promise<ContainerLog> {
    const file = await LogFile.open({ path: spec.logPath, pool: shared.pool, say: shared.say });
    const log = new ContainerLog(spec, shared, file);
    try {
      log.#openOutputs();
    } catch (error) {
      await log.close();
      throw error;
    }
    return log;
  }

  get spec(): LogSpec {
    return this.#spec;
  }

  get status(): LogStatus {
    return { ...this.#spec, created: this.#created, drained: this.#isDrained };
  }

  get counts(): LogFileCounts & { readBytes: number; attached: number } {
    return { ...this.#file.counts, readBytes: this.#readBytes, attached: this.#attachments.size };
  }

  /** The shim holds the fifos: their end is now the end of the output. */
  created(): void {
    this.#created = true;
    for (const { source } of this.#outputs) source.dropWriter();
    this.#settleEnd();
  }

  /** Resolves when the output has ended and all of it is in the log file (or was dropped, as the disk refused it). */
  get drained(): Promise<void> {
    return this.#drained.promise;
  }

  /** Goes over to `logPath`, or to a new file at the old path: whoever rotates has renamed the old one. */
  async reopen(logPath: string | undefined): Promise<void> {
    const path = logPath ?? this.#spec.logPath;
    await this.#file.reopen(path);
    this.#spec.logPath = path;
  }

  /** Sends the live output from now on to `socket`, and ends it with the output. A terminal's unfinished line (its prompt) comes first. */
  attach(socket: Socket, wants: { stdout: boolean; stderr: boolean }): void {
    const attachment = new Attachment({
      socket,
      ...wants,
      onChange: () => {
        if (attachment.gone) this.#attachments.delete(attachment);
        this.#settlePace();
      },
    });
    if (this.#spec.tty) {
      for (const { stream, formatter } of this.#outputs) {
        if (formatter.unfinished.length > 0) attachment.write(stream, formatter.unfinished);
      }
    }
    if (this.#outputs.every(({ source }) => source.ended)) attachment.end();
    else this.#attachments.add(attachment);
  }

  /** Stops reading, writes what was read, and lets go of everything. What is still in the fifos stays there for another reader. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { source, formatter } of this.#outputs) {
      source.close();
      formatter.end();
    }
    for (const attachment of this.#attachments) attachment.end();
    this.#attachments.clear();
    await this.#file.close();
    this.#drained.resolve();
  }

  #openOutputs(): void {
    const clock = new RecordClock();
    for (const stream of ["stdout", "stderr"] as const) {
      const path = this.#spec[stream];
      if (path === "") continue;
      const { tty, maxLineSize } = this.#spec;
      const formatter = new CriFormatter({ stream, tty, maxLineSize, clock, sink: this.#file });
      const source = new FifoSource({
        path,
        readBuffer: this.#shared.readBuffer,
        onChunk: (chunk, length) => this.#take(stream, formatter, chunk, length),
        onEnd: () => this.#ended(formatter),
        onError: (error) => this.#shared.say(`read fifo ${path}: ${error.message}; the output of this stream ends here`),
      });
      this.#outputs.push({ stream, source, formatter });
    }
  }

  #take(stream: LogStream, formatter: CriFormatter, chunk: Uint8Array, length: number): void {
    this.#readBytes += length;
    if (this.#spec.logPath !== "" || this.#spec.tty) formatter.write(chunk, length);
    this.#file.flush();
    if (this.#attachments.size > 0) {
      const bytes = chunk.subarray(0, length);
      for (const attachment of this.#attachments) attachment.write(stream, bytes);
    }
    this.#settlePace();
  }

  #ended(formatter: CriFormatter): void {
    if (this.#closed) return;
    formatter.end();
    this.#settleEnd();
  }

  #settleEnd(): void {
    if (this.#closed || this.#isDrained || !this.#created || !this.#outputs.every(({ source }) => source.ended)) return;
    for (const attachment of this.#attachments) attachment.end();
    this.#attachments.clear();
    void this.#file.settled().then(() => {
      this.#isDrained = true;
      this.#drained.resolve();
    });
  }

  /** Both streams are read, or neither: they share the file and the readers. */
  #settlePace(): void {
    let paused = this.#file.full;
    for (const attachment of this.#attachments) paused ||= attachment.blocked;
    for (const { source } of this.#outputs) source.setPaused(paused);
  }
}
