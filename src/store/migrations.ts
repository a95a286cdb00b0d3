import type { DatabaseSync } from "node:sqlite";
import { CridError } from "../base/errors.ts";

/** One step of the database's schema. Numbers are never reused and a released step never changes. */
interface Migration {
  number: number;
  what: string;
  sql: string;
}

/**
 * In every table `doc` is the record as JSON without what has a column of its own, and `record_version` the version of that
 * JSON's shape. Times are nanoseconds since the epoch, 0 = not yet.
 */
const migrations: readonly Migration[] = [
  {
    number: 1,
    what: "sandboxes, containers, images, CNI retries, meta",
    sql: `
      CREATE TABLE sandboxes (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, namespace TEXT NOT NULL, uid TEXT NOT NULL, attempt INTEGER NOT NULL,
        state TEXT NOT NULL, created_at INTEGER NOT NULL, pid INTEGER, netns TEXT NOT NULL, ips TEXT NOT NULL,
        record_version INTEGER NOT NULL, doc TEXT NOT NULL
      ) STRICT;
      CREATE TABLE containers (
        id TEXT PRIMARY KEY, sandbox_id TEXT NOT NULL, name TEXT NOT NULL, attempt INTEGER NOT NULL, image TEXT NOT NULL,
        created_at INTEGER NOT NULL, started_at INTEGER NOT NULL, finished_at INTEGER NOT NULL,
        exit_code INTEGER NOT NULL, reason TEXT NOT NULL, pid INTEGER,
        record_version INTEGER NOT NULL, doc TEXT NOT NULL
      ) STRICT;
      CREATE INDEX containers_by_sandbox ON containers (sandbox_id);
      CREATE TABLE images (
        id TEXT PRIMARY KEY, tags TEXT NOT NULL, size_bytes INTEGER NOT NULL, pinned INTEGER NOT NULL,
        record_version INTEGER NOT NULL, doc TEXT NOT NULL
      ) STRICT;
      CREATE TABLE cni_retries (
        id TEXT PRIMARY KEY, sandbox_id TEXT NOT NULL, pod TEXT NOT NULL, attempts INTEGER NOT NULL, last_error TEXT NOT NULL,
        first_failed_at INTEGER NOT NULL, next_attempt_at INTEGER NOT NULL,
        record_version INTEGER NOT NULL, doc TEXT NOT NULL
      ) STRICT;
      CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;`,
  },
];

/**
 * Brings the schema to the newest step, each step in a transaction of its own. SQLite's `user_version` holds the number of
 * the last step done.
 *
 * @throws failed-precondition when a newer crid wrote the database: going back needs that crid's tools, not a guess.
 */
export function migrate(database: DatabaseSync, path: string): void {
  const row = database.prepare("PRAGMA user_version").get();
  const done = Number(row?.user_version ?? 0);
  const newest = migrations.at(-1)?.number ?? 0;
  if (done > newest) {
    throw new CridError(
      "failed-precondition",
      `open store ${path}: written by a newer crid (schema ${done}, this one knows ${newest}); start that version, or move the file away`,
    );
  }
  for (const { number, sql } of migrations) {
    if (number <= done) continue;
    database.exec(`BEGIN IMMEDIATE; ${sql}; PRAGMA user_version = ${number}; COMMIT;`);
  }
}
