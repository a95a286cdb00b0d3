import { DatabaseSync, type SQLOutputValue } from "node:sqlite";

const TABLES = ["sandboxes", "containers", "images", "cni_retries", "meta"] as const;

/**
 * Copies the rows that can still be read from a damaged database into a new one of the same schema: a pod that runs and whose
 * record is lost would be taken for a leftover and ended. Reads each table from both ends, as a read stops at the first bad page.
 *
 * @returns rows copied, by table
 */
export function salvage(damaged: string, into: DatabaseSync): Record<string, number> {
  const saved: Record<string, number> = {};
  let from: DatabaseSync;
  try {
    from = new DatabaseSync(damaged, { readOnly: true });
  } catch {
    return saved;
  }
  try {
    for (const table of TABLES) {
      const count = copyTable(table, from, into);
      if (count > 0) saved[table] = count;
    }
  } finally {
    from.close();
  }
  return saved;
}

function copyTable(table: string, from: DatabaseSync, into: DatabaseSync): number {
  const copied = new Set<SQLOutputValue>();
  const key = table === "meta" ? "key" : "id";
  for (const order of ["ASC", "DESC"]) {
    try {
      const rows = from.prepare(`SELECT * FROM ${table} NOT INDEXED ORDER BY rowid ${order}`);
      rows.setReadBigInts(true);
      for (const row of rows.iterate()) {
        const id = row[key] ?? null;
        if (!copied.has(id) && insert(table, row, into)) copied.add(id);
      }
      break;
    } catch {
      // Up to the bad page; the other end next.
    }
  }
  return copied.size;
}

function insert(table: string, row: Record<string, SQLOutputValue>, into: DatabaseSync): boolean {
  const columns = Object.keys(row);
  try {
    // A row whose document is garbage would keep the store from opening.
    if (typeof row.doc === "string") JSON.parse(row.doc);
    into
      .prepare(`INSERT OR IGNORE INTO ${table} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`)
      .run(...Object.values(row));
    return true;
  } catch {
    return false;
  }
}
