import { CridError, messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { linkSignals } from "../base/signals.ts";
import { nowNanos } from "../base/time.ts";
import type { CniAttachment } from "../records/cni-attachment.ts";
import type { CniRetryRecord } from "../records/cni-retry-record.ts";
import type { Table } from "../store/table.ts";
import type { PodCni } from "./deps.ts";

/** The distances between attempts double from the first to the last of these. */
const FIRST_DELAY_MS = 5_000;
const LAST_DELAY_MS = 10 * 60_000;
const DEL_TIMEOUT_MS = 60_000;

/**
 * CNI DELs that failed. They are on disk before the pod goes, so that its removal never waits for a broken plugin and its address is
 * given back all the same, some time: containerd holds the pod instead, CRI-O drops the address (facts: complaint 12).
 */
export class CniRetries {
  readonly #table: Table<CniRetryRecord>;
  readonly #cni: Pick<PodCni, "del">;
  readonly #log: Logger;
  readonly #firstDelayMs: number;
  #timer: NodeJS.Timeout | undefined;
  #working: Promise<void> | undefined;
  readonly #closed = new AbortController();

  constructor(options: { table: Table<CniRetryRecord>; cni: Pick<PodCni, "del">; log: Logger; firstDelayMs?: number }) {
    this.#table = options.table;
    this.#cni = options.cni;
    this.#log = options.log;
    this.#firstDelayMs = options.firstDelayMs ?? FIRST_DELAY_MS;
  }

  /** What waits, for status, metrics and CNI GC. */
  list(): CniRetryRecord[] {
    return this.#table.all();
  }

  /** Begins to work on what an earlier daemon left. */
  start(): void {
    this.#schedule();
  }

  /** The record of a DEL that has just failed; the caller puts it in the transaction that forgets the attachment. */
  record(pod: { id: string; name: string; netnsPath: string }, attachment: CniAttachment, error: unknown): CniRetryRecord {
    const now = nowNanos();
    return {
      id: `${pod.id}/${attachment.networkName}/${attachment.ifName}`,
      sandboxId: pod.id,
      pod: pod.name,
      netnsPath: pod.netnsPath,
      attachment,
      attempts: 1,
      lastError: messageOf(error),
      firstFailedAt: now,
      nextAttemptAt: now + millis(this.#firstDelayMs),
    };
  }

  /** To be called after such a record was put. */
  wake(): void {
    this.#schedule();
  }

  async close(): Promise<void> {
    this.#closed.abort(new CridError("canceled", "the daemon stops"));
    clearTimeout(this.#timer);
    await this.#working;
  }

  /** @param leastMs keeps a record that could not be updated (disk full) from being tried without a pause */
  #schedule(leastMs = 0): void {
    if (this.#working !== undefined || this.#closed.signal.aborted) return;
    clearTimeout(this.#timer);
    const next = this.#table
      .all()
      .reduce<bigint | undefined>((least, { nextAttemptAt: at }) => (least === undefined || at < least ? at : least), undefined);
    if (next === undefined) return;
    const delay = Math.min(Math.max(Number((next - nowNanos()) / 1_000_000n), leastMs), LAST_DELAY_MS);
    this.#timer = setTimeout(() => {
      this.#working = this.#work().finally(() => {
        this.#working = undefined;
        this.#schedule(Math.min(this.#firstDelayMs, 1_000));
      });
    }, delay);
  }

  async #work(): Promise<void> {
    for (const record of this.#table.all()) {
      if (this.#closed.signal.aborted) return;
      if (record.nextAttemptAt <= nowNanos()) await this.#attempt(record);
    }
  }

  async #attempt(record: CniRetryRecord): Promise<void> {
    using link = linkSignals({ signals: [this.#closed.signal], timeoutMs: DEL_TIMEOUT_MS, step: `CNI DEL of ${record.id}` });
    const log = this.#log.child({ sandbox: record.sandboxId, pod: record.pod, network: record.attachment.networkName });
    try {
      await this.#cni.del(record.attachment, { id: record.sandboxId, netnsPath: record.netnsPath }, { signal: link.signal });
      this.#table.delete(record.id);
      log.info({ attempts: record.attempts + 1 }, "CNI DEL succeeded at last");
    } catch (error) {
      if (this.#closed.signal.aborted) return;
      const delay = Math.min(this.#firstDelayMs * 2 ** Math.min(record.attempts, 20), LAST_DELAY_MS);
      log.warn({ attempts: record.attempts + 1, nextInMs: delay, err: error }, "CNI DEL failed again");
      try {
        this.#table.put({
          ...record,
          attempts: record.attempts + 1,
          lastError: messageOf(error),
          nextAttemptAt: nowNanos() + millis(delay),
        });
      } catch (full) {
        log.warn({ err: full }, "could not record the failed CNI DEL");
      }
    }
  }
}

function millis(ms: number): bigint {
  return BigInt(Math.round(ms)) * 1_000_000n;
}
