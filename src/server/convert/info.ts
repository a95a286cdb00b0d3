/** The `info` of a verbose answer: one entry whose value is JSON, as crictl prints it. */
export function verboseInfo(value: Record<string, unknown>): Record<string, string> {
  return { info: toJson(value) };
}

/** JSON of plain data; int64 values become strings. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => (typeof part === "bigint" ? part.toString() : part));
}
