import { CridError, type ErrorKind, messageOf } from "../base/errors.ts";

// Primary result codes of SQLite (https://sqlite.org/rescode.html); the extended code's low byte is the primary one.
const SQLITE_BUSY = 5;
const SQLITE_READONLY = 8;
const SQLITE_IOERR = 10;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_CANTOPEN = 14;
const SQLITE_NOTADB = 26;

/** Whether the database file itself is damaged. */
export function isDamage(error: unknown): boolean {
  const code = primaryCode(error);
  return code === SQLITE_CORRUPT || code === SQLITE_NOTADB;
}

/** Whether the write failed for want of space. */
export function isFull(error: unknown): boolean {
  return primaryCode(error) === SQLITE_FULL;
}

/** An error of node:sqlite as a CridError that names the step. Errors of other kinds only get the step. */
export function fromSqlite(error: unknown, step: string): CridError {
  const code = primaryCode(error);
  if (code === undefined) return CridError.from(error, step);
  return new CridError(kindOf(code), `${step}: ${messageOf(error)}${advice(code)}`, { cause: error });
}

function primaryCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return undefined;
  return error.errcode & 0xff;
}

function kindOf(code: number): ErrorKind {
  switch (code) {
    case SQLITE_FULL:
      return "resource-exhausted";
    case SQLITE_BUSY:
      return "unavailable";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return "data-loss";
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
      return "failed-precondition";
    default:
      return "internal";
  }
}

function advice(code: number): string {
  switch (code) {
    case SQLITE_FULL:
      return " (free space on the file system of crid's root; removing pods, containers and images still works)";
    case SQLITE_BUSY:
      return " (another process holds a write transaction on the database)";
    case SQLITE_IOERR:
      return " (look at the kernel log for errors of the disk)";
    default:
      return "";
  }
}
