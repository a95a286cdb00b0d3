import fs from "node:fs";
import type { Logger } from "../base/log.ts";

/** Room for one write-ahead log at its greatest usual size (1000 pages of 4 KiB). */
const RESERVE_BYTES = 4 << 20;

/**
 * Disk space kept back in a file beside the database, so that on a full disk removing still works: SQLite needs room in its
 * log even to delete. It is given up when a freeing write finds the disk full, and made again once there is room.
 */
export class Reserve {
  readonly #path: string;
  readonly #log: Logger;
  #held = false;

  constructor(options: { path: string; log: Logger }) {
    this.#path = options.path;
    this.#log = options.log;
    this.refill();
  }

  /** Gives the space back to the file system. @returns whether there was any. */
  release(): boolean {
    if (!this.#held) return false;
    fs.truncateSync(this.#path, 0);
    this.#held = false;
    this.#log.warn({ path: this.#path }, "disk full: using the space kept back for removals");
    return true;
  }

  /** Does nothing when it is there; when there is no room for it, goes without. */
  refill(): void {
    if (this.#held) return;
    try {
      // Real blocks, not a hole.
      if ((fs.statSync(this.#path, { throwIfNoEntry: false })?.blocks ?? 0) * 512 < RESERVE_BYTES) {
        fs.writeFileSync(this.#path, Buffer.alloc(RESERVE_BYTES, 1), { mode: 0o600 });
      }
      this.#held = true;
    } catch (error) {
      this.#log.warn({ path: this.#path, err: error }, "no room to keep back for removals on a full disk");
      fs.rmSync(this.#path, { force: true });
    }
  }
}
