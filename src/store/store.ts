import { open } from "node:fs/promises";
import type { DatabaseSync } from "node:sqlite";
import { CridError, isErrno } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { CniRetryRecord } from "../records/cni-retry-record.ts";
import type { ContainerRecord } from "../records/container-record.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { SandboxRecord } from "../records/sandbox-record.ts";
import { cniRetryShape } from "./cni-retries.ts";
import { containerShape } from "./containers.ts";
import { openDatabase } from "./database.ts";
import { imageShape } from "./images.ts";
import { lockRoot } from "./lock.ts";
import { Meta } from "./meta.ts";
import { Reserve } from "./reserve.ts";
import { sandboxShape } from "./sandboxes.ts";
import { fromSqlite, isFull } from "./sqlite-errors.ts";
import { SqlTable, type Table, type TableHost } from "./table.ts";

export type { Table } from "./table.ts";

const runKey = "run";

export interface StoreOptions {
  /** The database file; `-wal`, `-shm` and `.reserve` lie beside it. */
  path: string;
  /** The lock of the root; one daemon a root. */
  lockPath: string;
  log: Logger;
}

/**
 * Everything crid must know after a restart. One SQLite file; memory holds a full copy for reads. Everything is synchronous: a
 * commit is some 40 µs, and a transaction is one tick, so nothing can come in between.
 */
export class Store implements Disposable {
  readonly sandboxes: Table<SandboxRecord>;
  readonly containers: Table<ContainerRecord>;
  readonly images: Table<ImageRecord>;
  readonly cniRetries: Table<CniRetryRecord>;
  readonly meta: Meta;
  /** Where a damaged database was moved when this one was opened. */
  readonly damaged: string | undefined;

  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #lock: Disposable;
  readonly #reserve: Reserve;
  /** How to take back what memory already holds of the open transaction; undefined outside one. */
  #undos: (() => void)[] | undefined;

  /**
   * Takes the root's lock, opens the database, migrates it, reads it into memory.
   *
   * @throws failed-precondition: another daemon has the root, or a newer crid wrote the database
   */
  static open(options: StoreOptions): Store {
    const lock = lockRoot(options.lockPath);
    try {
      return new Store(options, lock);
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
  }

  private constructor(options: StoreOptions, lock: Disposable) {
    this.#lock = lock;
    this.#path = options.path;
    const { database, movedTo } = openDatabase(options);
    this.#database = database;
    this.damaged = movedTo;
    this.#reserve = new Reserve({ path: `${options.path}.reserve`, log: options.log });
    const host: TableHost = {
      database,
      write: (step, frees, run) => this.#write(step, frees, run),
      onRollback: (undo) => void this.#undos?.push(undo),
    };
    try {
      this.sandboxes = new SqlTable(host, sandboxShape);
      this.containers = new SqlTable(host, containerShape);
      this.images = new SqlTable(host, imageShape);
      this.cniRetries = new SqlTable(host, cniRetryShape);
      this.meta = new Meta(host);
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /**
   * Runs `run` so that all of its writes take place or none, on disk and in memory. `run` must not wait, and may run a second
   * time when the disk is full and `frees` says that it removes things.
   */
  transaction<T>(run: () => T, options: { frees?: boolean } = {}): T {
    if (this.#undos !== undefined) throw new CridError("internal", "store: a transaction inside a transaction");
    try {
      return this.#attempt(run);
    } catch (error) {
      if (options.frees === true && isFull(causeOf(error)) && this.#reserve.release()) return this.#attempt(run);
      throw error;
    }
  }

  /**
   * Waits until everything that was committed before this call is on the disk. A commit alone survives the end of the process, not a
   * power cut: before files go that a record spoke of, the record's own going must be safe.
   */
  async sync(): Promise<void> {
    try {
      await using wal = await open(`${this.#path}-wal`, "r");
      await wal.datasync();
    } catch (error) {
      // Nothing was written since the log was folded into the file, which SQLite syncs.
      if (!isErrno(error, "ENOENT")) throw CridError.from(error, "sync the store");
    }
  }

  /**
   * A run of the daemon begins.
   * @returns whether the last one did not end by `endRun`: what it had written may not be whole
   */
  beginRun(): boolean {
    const unclean = this.meta.get(runKey) === "running";
    this.meta.set(runKey, "running");
    return unclean;
  }

  /** The run ends in order. */
  endRun(): void {
    this.meta.set(runKey, "stopped");
  }

  /** Closes the database (its log is folded in) and gives the lock back. Idempotent. */
  close(): void {
    if (!this.#database.isOpen) return;
    this.#database.close();
    this.#lock[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #attempt<T>(run: () => T): T {
    const undos: (() => void)[] = [];
    this.#undos = undos;
    try {
      this.#database.exec("BEGIN IMMEDIATE");
      const result = run();
      this.#database.exec("COMMIT");
      return result;
    } catch (error) {
      // SQLite has already rolled back by itself after some errors (disk full).
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      for (const undo of undos.reverse()) undo();
      throw fromSqlite(error, "store transaction");
    } finally {
      this.#undos = undefined;
    }
  }

  #write(step: string, frees: boolean, run: () => void): void {
    try {
      run();
    } catch (error) {
      // Inside a transaction the caller of transaction() decides about the reserve.
      if (this.#undos !== undefined || !frees || !isFull(error) || !this.#reserve.release()) throw fromSqlite(error, step);
      try {
        run();
      } catch (again) {
        throw fromSqlite(again, step);
      }
    }
    if (!frees && this.#undos === undefined) this.#reserve.refill();
  }
}

/** The innermost error that is not a CridError. */
function causeOf(error: unknown): unknown {
  return error instanceof CridError && error.cause !== undefined ? causeOf(error.cause) : error;
}
