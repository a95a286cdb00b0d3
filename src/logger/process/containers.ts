import type { Socket } from "node:net";
import { CridError } from "../../base/errors.ts";
import { KeyedMutex } from "../../base/keyed-mutex.ts";
import type { LoggerStats, LogSpec, LogStatus } from "../protocol.ts";
import { ContainerLog, type SharedBuffers } from "./container-log.ts";

/** All containers whose output this process reads. Every method can be repeated: a daemon that lost the answer asks again. */
export class ContainerLogs {
  readonly #shared: SharedBuffers;
  readonly #logs = new Map<string, ContainerLog>();
  readonly #locks = new KeyedMutex();
  /** The counts of those closed. */
  readonly #past = { readBytes: 0, writtenBytes: 0, droppedBytes: 0, droppedRecords: 0 };

  constructor(shared: SharedBuffers) {
    this.#shared = shared;
  }

  /** How many have output to come. */
  get active(): number {
    let count = 0;
    for (const log of this.#logs.values()) if (!log.status.drained) count++;
    return count;
  }

  /** An id that is already open stays as it is. */
  async open(spec: LogSpec): Promise<void> {
    using _lock = await this.#locks.acquire(spec.id);
    if (this.#logs.has(spec.id)) return;
    this.#logs.set(spec.id, await ContainerLog.open(spec, this.#shared));
  }

  created(id: string): void {
    this.#get(id).created();
  }

  /** Whether all output was in the log within the time. An unknown id has nothing to wait for. */
  async drained(id: string, timeoutMs: number): Promise<boolean> {
    const log = this.#logs.get(id);
    if (log === undefined) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), timeoutMs);
    void log.drained.then(() => resolve(true));
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  async reopen(id: string, logPath: string | undefined): Promise<void> {
    using _lock = await this.#locks.acquire(id);
    await this.#get(id).reopen(logPath);
  }

  async close(id: string): Promise<void> {
    using _lock = await this.#locks.acquire(id);
    const log = this.#logs.get(id);
    if (log === undefined) return;
    this.#logs.delete(id);
    await log.close();
    for (const name of ["readBytes", "writtenBytes", "droppedBytes", "droppedRecords"] as const) this.#past[name] += log.counts[name];
  }

  attach(id: string, socket: Socket, wants: { stdout: boolean; stderr: boolean }): void {
    this.#get(id).attach(socket, wants);
  }

  /** Throws `not-found` when nothing is known of the id. */
  require(id: string): void {
    this.#get(id);
  }

  list(): LogStatus[] {
    return Array.from(this.#logs.values(), (log) => log.status);
  }

  stats(): LoggerStats {
    const stats = { ...this.#past, containers: this.#logs.size, attached: 0, rssBytes: process.memoryUsage.rss() };
    for (const { counts } of this.#logs.values()) {
      stats.attached += counts.attached;
      for (const name of ["readBytes", "writtenBytes", "droppedBytes", "droppedRecords"] as const) stats[name] += counts[name];
    }
    return stats;
  }

  async closeAll(): Promise<void> {
    await Promise.all(Array.from(this.#logs.keys(), (id) => this.close(id)));
  }

  #get(id: string): ContainerLog {
    const log = this.#logs.get(id);
    if (log === undefined) throw new CridError("not-found", `container ${id}: the logger does not know it`);
    return log;
  }
}
