import type { ImageRecord } from "../records/image-record.ts";
import { document, integer, type TableShape, text } from "./table.ts";

type Doc = Omit<ImageRecord, "id" | "repoTags" | "sizeBytes" | "pinned">;

export const imageShape: TableShape<ImageRecord> = {
  name: "images",
  version: 1,
  toRow(record) {
    const { id, repoTags, sizeBytes, pinned, ...rest } = record;
    const doc: Doc = rest;
    return { id, tags: JSON.stringify(repoTags), size_bytes: sizeBytes, pinned: pinned ? 1 : 0, doc: JSON.stringify(doc) };
  },
  fromRow(row) {
    return {
      ...document<Doc>(row),
      id: text(row, "id"),
      repoTags: JSON.parse(text(row, "tags")) as string[],
      sizeBytes: Number(integer(row, "size_bytes")),
      pinned: integer(row, "pinned") !== 0n,
    };
  },
};
