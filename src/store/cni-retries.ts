import type { CniRetryRecord } from "../records/cni-retry-record.ts";
import { document, integer, type TableShape, text } from "./table.ts";

type Doc = Pick<CniRetryRecord, "netnsPath" | "attachment">;

export const cniRetryShape: TableShape<CniRetryRecord> = {
  name: "cni_retries",
  version: 1,
  toRow(record) {
    const { id, sandboxId, pod, attempts, lastError, firstFailedAt, nextAttemptAt, ...rest } = record;
    const doc: Doc = rest;
    return {
      id,
      sandbox_id: sandboxId,
      pod,
      attempts,
      last_error: lastError,
      first_failed_at: firstFailedAt,
      next_attempt_at: nextAttemptAt,
      doc: JSON.stringify(doc),
    };
  },
  fromRow(row) {
    return {
      ...document<Doc>(row),
      id: text(row, "id"),
      sandboxId: text(row, "sandbox_id"),
      pod: text(row, "pod"),
      attempts: Number(integer(row, "attempts")),
      lastError: text(row, "last_error"),
      firstFailedAt: integer(row, "first_failed_at"),
      nextAttemptAt: integer(row, "next_attempt_at"),
    };
  },
};
