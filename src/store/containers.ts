import type { ContainerRecord, ContainerStatusRecord } from "../records/container-record.ts";
import { document, integer, type TableShape, text } from "./table.ts";

type StatusDoc = Omit<ContainerStatusRecord, "createdAt" | "startedAt" | "finishedAt" | "exitCode" | "reason">;
type Doc = Omit<ContainerRecord, "id" | "sandboxId" | "status"> & { status: StatusDoc };

export const containerShape: TableShape<ContainerRecord> = {
  name: "containers",
  version: 1,
  toRow(record) {
    const { id, sandboxId, status, ...rest } = record;
    const { createdAt, startedAt, finishedAt, exitCode, reason, ...statusDoc } = status;
    const doc: Doc = { ...rest, status: statusDoc };
    return {
      id,
      sandbox_id: sandboxId,
      name: record.config.name,
      attempt: record.config.attempt,
      image: record.imageRef,
      created_at: createdAt,
      started_at: startedAt,
      finished_at: finishedAt,
      exit_code: exitCode,
      reason,
      pid: status.process?.pid ?? null,
      doc: JSON.stringify(doc),
    };
  },
  fromRow(row) {
    const doc = document<Doc>(row);
    return {
      ...doc,
      id: text(row, "id"),
      sandboxId: text(row, "sandbox_id"),
      status: {
        ...doc.status,
        createdAt: integer(row, "created_at"),
        startedAt: integer(row, "started_at"),
        finishedAt: integer(row, "finished_at"),
        exitCode: Number(integer(row, "exit_code")),
        reason: text(row, "reason"),
      },
    };
  },
};
