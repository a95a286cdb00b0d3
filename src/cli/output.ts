/** Writes to stdout. A reader that has gone (`| head`) ends the command without a word. */
export function print(text: string): void {
  process.stdout.write(text);
}

/** Waits until stdout takes more. */
export async function printBytes(data: Uint8Array): Promise<void> {
  if (!process.stdout.write(data)) await new Promise((resolve) => process.stdout.once("drain", resolve));
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

/** Rows with aligned columns. Widths count code points, which is enough for names of images. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => [...(row[column] ?? "")].length)));
  return all
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - [...cell].length))
          .join("   ")
          .trimEnd()}\n`,
    )
    .join("");
}

/** 1536 -> "1.5 KiB". */
export function bytesText(value: bigint | number): string {
  let amount = Number(value);
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (amount < 1024) return unit === "B" ? `${amount} B` : `${amount.toFixed(1)} ${unit}`;
    amount /= 1024;
  }
  return `${amount.toFixed(1)} TiB`;
}

/** The 12 digits that people tell digests by. */
export function shortDigest(digest: string): string {
  return digest.slice(digest.indexOf(":") + 1).slice(0, 12);
}

/** A message of the wire as plain JSON: 64-bit numbers as numbers, what is not set left out. */
export function json(value: unknown): string {
  return `${JSON.stringify(plain(value), undefined, 2)}\n`;
}

function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  const object: Record<string, unknown> = {};
  // A field that was not sent has its default on the prototype.
  for (const key in value) {
    const field = (value as Record<string, unknown>)[key];
    if (field !== null && field !== undefined && typeof field !== "function") object[key] = plain(field);
  }
  return object;
}
