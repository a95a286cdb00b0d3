import { malformed, type SparseRegion } from "./tar-header.ts";

/**
 * The records of PAX extended headers (POSIX.1-2001 pax, "pax Extended Header"). Values are bytes: extended attributes are
 * binary, and reading them as UTF-8 damages them silently.
 */
export interface PaxRecords {
  /** Keys are one character a byte. A later record of the same key replaces the earlier; an empty value removes it. */
  values: Map<string, Buffer>;
  /** The regions of a GNU sparse file, format 0.0, which repeats its keys. */
  sparse: SparseRegion[];
}

/** @throws invalid-argument for a record whose length, key or form is wrong */
export function parsePax(body: Buffer, into: PaxRecords = { values: new Map(), sparse: [] }): PaxRecords {
  let at = 0;
  let pendingOffset: number | undefined;
  while (at < body.length) {
    const space = body.indexOf(0x20, at);
    if (space < 0 || space - at > 20) throw malformed("pax record without a length");
    const digits = body.toString("latin1", at, space);
    if (!/^[0-9]+$/.test(digits)) throw malformed("pax record length is not a number");
    const end = at + Number.parseInt(digits, 10);
    if (end <= space + 1 || end > body.length || body[end - 1] !== 0x0a) throw malformed("pax record length is wrong");
    const equals = body.indexOf(0x3d, space + 1);
    if (equals < 0 || equals >= end) throw malformed("pax record without '='");
    const key = body.toString("latin1", space + 1, equals);
    const value = Buffer.from(body.subarray(equals + 1, end - 1));
    if (key === "") throw malformed("pax record without a key");
    if (key === "GNU.sparse.offset") pendingOffset = paxNumber(value, key);
    else if (key === "GNU.sparse.numbytes") {
      if (pendingOffset === undefined) throw malformed("GNU.sparse.numbytes without an offset");
      into.sparse.push({ offset: pendingOffset, length: paxNumber(value, key) });
      pendingOffset = undefined;
    } else if (value.length === 0) into.values.delete(key);
    else into.values.set(key, value);
    at = end;
  }
  return into;
}

/** A non-negative whole number. */
export function paxNumber(value: Buffer, key: string): number {
  const digits = value.toString("latin1");
  const number = Number(digits);
  if (!/^[0-9]+$/.test(digits) || !Number.isSafeInteger(number)) throw malformed(`pax ${key} is not a number`);
  return number;
}

/** A time with a fraction ("1700000000.123456789", "-1.5") as whole seconds, rounded down, and nanoseconds. */
export function paxTime(value: Buffer, key: string): { seconds: number; nanos: number } {
  const match = /^(-?)([0-9]+)(?:\.([0-9]*))?$/.exec(value.toString("latin1"));
  if (match === null) throw malformed(`pax ${key} is not a time`);
  const [, sign, whole = "0", fraction = ""] = match;
  const seconds = Number(whole);
  if (!Number.isSafeInteger(seconds)) throw malformed(`pax ${key} is out of range`);
  const nanos = Number(fraction.slice(0, 9).padEnd(9, "0"));
  if (sign !== "-") return { seconds, nanos };
  return nanos === 0 ? { seconds: -seconds, nanos: 0 } : { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos };
}

/** The map of GNU sparse format 0.1: "offset,length,offset,length". */
export function parseSparseList(value: Buffer): SparseRegion[] {
  const numbers = value.toString("latin1").split(",");
  if (numbers.length % 2 !== 0) throw malformed("GNU.sparse.map has an odd number of fields");
  const map: SparseRegion[] = [];
  for (let at = 0; at + 1 < numbers.length; at += 2) {
    map.push({
      offset: paxNumber(Buffer.from(numbers[at] ?? "", "latin1"), "GNU.sparse.map"),
      length: paxNumber(Buffer.from(numbers[at + 1] ?? "", "latin1"), "GNU.sparse.map"),
    });
  }
  return map;
}

/** The extended attributes among the records: SCHILY.xattr.NAME holds bytes, LIBARCHIVE.xattr.NAME base64 under a quoted name. */
export function paxXattrs(values: ReadonlyMap<string, Buffer>): Map<string, Buffer> {
  const xattrs = new Map<string, Buffer>();
  for (const [key, value] of values) {
    if (key.startsWith("LIBARCHIVE.xattr.")) {
      const name = key.slice(17).replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
      xattrs.set(name, Buffer.from(value.toString("latin1"), "base64"));
    }
  }
  for (const [key, value] of values) if (key.startsWith("SCHILY.xattr.")) xattrs.set(key.slice(13), value);
  return xattrs;
}
