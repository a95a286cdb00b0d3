import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import type { Logger } from "../base/log.ts";

/** What a pull needs and no image refers to yet: the collector leaves it alone. */
export interface Lease {
  readonly id: string;
  /** The reference that is pulled. */
  readonly ref: string;
  readonly blobs: ReadonlySet<string>;
  readonly chainIds: ReadonlySet<string>;
}

const schema = z.object({ ref: z.string(), expiresAt: z.number(), blobs: z.array(z.string()), chainIds: z.array(z.string()) });

/** How long the parts of a broken off pull are kept for the next try. The kubelet tries again within five minutes. */
const keptMs = 60 * 60_000;

interface Held extends Lease {
  /** Date.now() after which it no longer counts; undefined while the pull is under way. */
  expiresAt: number | undefined;
}

/**
 * Leases of pulls. One is on disk while it is held, so that a pull that a crash has cut goes on with what it had, instead of
 * finding it collected by the start in between. Losing one in a power cut costs a download, so nothing is synced.
 */
export class Leases {
  readonly #directory: string;
  readonly #log: Logger;
  readonly #leases = new Map<string, Held>();

  constructor(options: { directory: string; log: Logger }) {
    this.#directory = options.directory;
    this.#log = options.log;
  }

  /** Reads the leases of an earlier process. */
  async load(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    for (const id of await readdir(this.#directory)) {
      try {
        const { ref, expiresAt, blobs, chainIds } = schema.parse(JSON.parse(await readFile(join(this.#directory, id), "utf8")));
        this.#leases.set(id, { id, ref, expiresAt, blobs: new Set(blobs), chainIds: new Set(chainIds) });
      } catch (error) {
        this.#log.warn({ lease: id, err: error }, "removed a lease that cannot be read");
        await rm(join(this.#directory, id), { recursive: true, force: true });
      }
    }
  }

  /**
   * Holds the parts from this moment on (before the promise settles); what an earlier try under the same key held counts too.
   * @param parts.once nobody will come with the key again: a crash ends the lease
   */
  async hold(key: string, parts: { ref: string; blobs: Iterable<string>; chainIds: Iterable<string>; once?: boolean }): Promise<Lease> {
    const id = createHash("sha256").update(key).digest("hex").slice(0, 32);
    const before = this.#leases.get(id);
    const lease: Held = {
      id,
      ref: parts.ref,
      blobs: new Set([...(before?.blobs ?? []), ...parts.blobs]),
      chainIds: new Set([...(before?.chainIds ?? []), ...parts.chainIds]),
      expiresAt: undefined,
    };
    this.#leases.set(id, lease);
    if (parts.once !== true) await this.#write(lease);
    return lease;
  }

  /** The pull was broken off: the parts are kept for a while. */
  suspend(lease: Lease): void {
    const held = this.#leases.get(lease.id);
    if (held !== undefined) held.expiresAt = Date.now() + keptMs;
  }

  /** The parts belong to an image now, or are not wanted. */
  async release(lease: Lease): Promise<void> {
    this.#leases.delete(lease.id);
    await rm(join(this.#directory, lease.id), { force: true });
  }

  /** Leases that count. */
  current(): Lease[] {
    const now = Date.now();
    return [...this.#leases.values()].filter(({ expiresAt }) => expiresAt === undefined || expiresAt > now);
  }

  /** Forgets those of broken off pulls whose image is here: another pull brought it, or a power cut has brought an ended lease back. */
  async dropDone(isDone: (lease: Lease) => boolean): Promise<void> {
    for (const lease of [...this.#leases.values()]) if (lease.expiresAt !== undefined && isDone(lease)) await this.release(lease);
  }

  /** Forgets the others. */
  async dropExpired(): Promise<void> {
    const current = new Set(this.current());
    for (const lease of [...this.#leases.values()]) {
      if (!current.has(lease)) await this.release(lease);
    }
  }

  async #write(lease: Held): Promise<void> {
    const content = { ref: lease.ref, expiresAt: Date.now() + keptMs, blobs: [...lease.blobs], chainIds: [...lease.chainIds] };
    await writeFile(join(this.#directory, lease.id), JSON.stringify(content), { mode: 0o600 });
  }
}
