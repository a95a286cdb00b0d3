import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { CridError } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { migrate } from "./migrations.ts";
import { salvage } from "./salvage.ts";
import { fromSqlite, isDamage } from "./sqlite-errors.ts";

/**
 * Opens the database, creates or migrates it. One that is damaged is moved aside, never deleted, and a new one is opened in its
 * place with the records that could still be read: a node that can't start its runtime is worse than one that lost some.
 *
 * WAL with synchronous=NORMAL: a commit survives the death of the process at any instant; a power cut may lose the last ones,
 * but it ends the containers as well (the next start sees another boot id and starts from that).
 */
export function openDatabase(options: { path: string; log: Logger }): { database: DatabaseSync; movedTo: string | undefined } {
  fs.mkdirSync(path.dirname(options.path), { recursive: true, mode: 0o711 });
  try {
    return { database: openChecked(options.path), movedTo: undefined };
  } catch (error) {
    if (!isDamage(error)) throw fromSqlite(error, `open store ${options.path}`);
    const movedTo = moveAside(options.path);
    const database = openChecked(options.path);
    const saved = salvage(movedTo, database);
    options.log.error(
      { path: options.path, movedTo, saved, err: error },
      "the store is damaged: moved aside, going on with the records that could still be read; `crid state rebuild` makes image records anew from the content store, the kubelet makes pods anew",
    );
    return { database, movedTo };
  }
}

function openChecked(file: string): DatabaseSync {
  const database = new DatabaseSync(file, { timeout: 2_000 });
  try {
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
    fs.chmodSync(file, 0o600);
    const finding = database.prepare("PRAGMA quick_check(1)").get()?.quick_check;
    if (finding !== "ok") throw Object.assign(new Error(`quick_check: ${String(finding)}`), { errcode: 11 });
    migrate(database, file);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function moveAside(file: string): string {
  const movedTo = `${file}.damaged-${new Date().toISOString().replaceAll(":", "")}`;
  for (const suffix of ["", "-wal", "-shm"]) {
    try {
      fs.renameSync(file + suffix, movedTo + suffix);
    } catch (error) {
      if (suffix === "") throw CridError.from(error, `move the damaged store ${file} aside`);
    }
  }
  return movedTo;
}
