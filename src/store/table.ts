import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite";
import { fromSqlite } from "./sqlite-errors.ts";

/**
 * The records of one kind. Reads come from memory and never touch the disk. Writes are synchronous, one commit each unless
 * inside `Store.transaction`: disk first, then memory, so that a failed write changes neither. Treat records as immutable:
 * to change one, put a new object.
 */
export interface Table<R> {
  /** Inserts or replaces. @throws resource-exhausted (disk full), internal, unavailable */
  put(record: R): void;
  get(id: string): R | undefined;
  /** In the order of insertion. */
  all(): R[];
  readonly size: number;
  /** Idempotent. Works on a full disk too. */
  delete(id: string): void;
}

export type Row = Record<string, SQLOutputValue>;

/** How one kind of record lies in SQL: one file per kind says this. */
export interface TableShape<R extends { id: string }> {
  name: string;
  /** Raised when the shape of the JSON document changes; `fromRow` then also reads the older ones. */
  version: number;
  /** The columns besides `record_version`, `id` included. */
  toRow(record: R): Record<string, SQLInputValue>;
  /** INTEGER columns arrive as bigint. */
  fromRow(row: Row, version: number): R;
}

/** What a table needs of the store around it. */
export interface TableHost {
  database: DatabaseSync;
  /** Runs one write. `frees`: it removes something or changes what exists, so it may use the reserved space. */
  write(step: string, frees: boolean, run: () => void): void;
  /** Called after a write that changed memory: inside a transaction, how to take the change back. */
  onRollback(undo: () => void): void;
}

export class SqlTable<R extends { id: string }> implements Table<R> {
  readonly #host: TableHost;
  readonly #shape: TableShape<R>;
  readonly #records = new Map<string, R>();
  readonly #delete: StatementSync;
  #upsert: StatementSync | undefined;

  constructor(host: TableHost, shape: TableShape<R>) {
    this.#host = host;
    this.#shape = shape;
    this.#delete = host.database.prepare(`DELETE FROM ${shape.name} WHERE id = ?`);
    this.#load();
  }

  get size(): number {
    return this.#records.size;
  }

  get(id: string): R | undefined {
    return this.#records.get(id);
  }

  all(): R[] {
    return [...this.#records.values()];
  }

  put(record: R): void {
    const { id } = record;
    const before = this.#records.get(id);
    const row = { ...this.#shape.toRow(record), record_version: this.#shape.version };
    this.#upsert ??= this.#prepareUpsert(Object.keys(row));
    const statement = this.#upsert;
    this.#host.write(`write ${this.#shape.name} ${id}`, before !== undefined, () => void statement.run(...Object.values(row)));
    this.#records.set(id, record);
    this.#host.onRollback(() => this.#restore(id, before));
  }

  delete(id: string): void {
    const before = this.#records.get(id);
    if (before === undefined) return;
    this.#host.write(`delete from ${this.#shape.name} ${id}`, true, () => void this.#delete.run(id));
    this.#records.delete(id);
    this.#host.onRollback(() => this.#restore(id, before));
  }

  #restore(id: string, before: R | undefined): void {
    if (before === undefined) this.#records.delete(id);
    else this.#records.set(id, before);
  }

  #prepareUpsert(columns: string[]): StatementSync {
    const updates = columns.filter((column) => column !== "id").map((column) => `${column} = excluded.${column}`);
    return this.#host.database.prepare(
      `INSERT INTO ${this.#shape.name} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})
       ON CONFLICT (id) DO UPDATE SET ${updates.join(", ")}`,
    );
  }

  #load(): void {
    const { name } = this.#shape;
    const select = this.#host.database.prepare(`SELECT * FROM ${name} ORDER BY rowid`);
    select.setReadBigInts(true);
    try {
      for (const row of select.iterate()) {
        const record = this.#shape.fromRow(row, Number(row.record_version));
        this.#records.set(record.id, record);
      }
    } catch (error) {
      throw fromSqlite(error, `load ${name}`);
    }
  }
}

/** A column that the schema declares TEXT NOT NULL. */
export function text(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== "string") throw new TypeError(`column ${column} is ${typeof value}, not text`);
  return value;
}

/** A column that the schema declares INTEGER NOT NULL. */
export function integer(row: Row, column: string): bigint {
  const value = row[column];
  if (typeof value !== "bigint") throw new TypeError(`column ${column} is ${typeof value}, not an integer`);
  return value;
}

/** The JSON document of a row. Its shape was checked by the type checker when it was written. */
export function document<D>(row: Row): D {
  return JSON.parse(text(row, "doc")) as D;
}
