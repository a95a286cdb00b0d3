import type { SandboxRecord } from "../records/sandbox-record.ts";
import { document, integer, type TableShape, text } from "./table.ts";

type Doc = Omit<SandboxRecord, "id" | "createdAt" | "state" | "netnsPath" | "ips">;

export const sandboxShape: TableShape<SandboxRecord> = {
  name: "sandboxes",
  version: 1,
  toRow(record) {
    const { id, createdAt, state, netnsPath, ips, ...rest } = record;
    const { name, namespace, uid, attempt } = record.config;
    const doc: Doc = rest;
    return {
      id,
      name,
      namespace,
      uid,
      attempt,
      state,
      created_at: createdAt,
      pid: record.process?.pid ?? null,
      netns: netnsPath,
      ips: JSON.stringify(ips),
      doc: JSON.stringify(doc),
    };
  },
  fromRow(row) {
    return {
      ...document<Doc>(row),
      id: text(row, "id"),
      createdAt: integer(row, "created_at"),
      state: text(row, "state") as SandboxRecord["state"],
      netnsPath: text(row, "netns"),
      ips: JSON.parse(text(row, "ips")) as string[],
    };
  },
};
