/** JSON of a value in which a bigint is a number of as many digits as it takes: Go's 64-bit fields are, and a double is not exact. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) => (typeof member === "bigint" ? rawJson(member) : member));
}

/** The other way: an integer that a number can't hold exactly becomes a bigint. */
export function fromJson(text: string): unknown {
  // Reading with a function takes several times as long, and hardly any text needs it.
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_key, member: unknown, context?: { source?: string }) => {
    const source = context?.source;
    return typeof member === "number" && !Number.isSafeInteger(member) && source !== undefined && /^-?\d+$/.test(source)
      ? BigInt(source)
      : member;
  });
}

/** A 64-bit number of a message: as a number where that is exact. */
export function exactNumber(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** JSON.rawJSON (ES2026) is not in TypeScript's library yet. */
function rawJson(value: bigint): unknown {
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(String(value));
}
