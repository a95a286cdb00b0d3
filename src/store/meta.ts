import type { StatementSync } from "node:sqlite";
import type { TableHost } from "./table.ts";

/** Single facts about this root: the boot id it was last used under, whether the last stop was clean. Read from memory. */
export class Meta {
  readonly #host: TableHost;
  readonly #values = new Map<string, string>();
  readonly #upsert: StatementSync;

  constructor(host: TableHost) {
    this.#host = host;
    this.#upsert = host.database.prepare(
      "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    );
    for (const row of host.database.prepare("SELECT key, value FROM meta").iterate()) {
      this.#values.set(String(row.key), String(row.value));
    }
  }

  get(key: string): string | undefined {
    return this.#values.get(key);
  }

  set(key: string, value: string): void {
    const before = this.#values.get(key);
    if (before === value) return;
    this.#host.write(`write meta ${key}`, true, () => void this.#upsert.run(key, value));
    this.#values.set(key, value);
    this.#host.onRollback(() => {
      if (before === undefined) this.#values.delete(key);
      else this.#values.set(key, before);
    });
  }
}
