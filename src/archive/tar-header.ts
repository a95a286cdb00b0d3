import { CridError } from "../base/errors.ts";

export const blockSize = 512;

export type TarType = "file" | "link" | "symlink" | "char" | "block" | "directory" | "fifo";

/** Entries that describe the next one, or the archive, and never become a file. */
export type TarMeta = "pax" | "pax-global" | "gnu-long-name" | "gnu-long-link";

/** One header block as it stands, before PAX records or GNU long names replace its fields. Names are one character a byte. */
export interface RawHeader {
  kind: TarType | TarMeta | "gnu-sparse" | "volume-label";
  name: string;
  linkName: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtimeSeconds: number;
  devMajor: number;
  devMinor: number;
  format: "v7" | "ustar" | "gnu";
}

/**
 * Parses a 512-byte header block (POSIX.1-1988 ustar, GNU and v7; pax(1) and GNU tar's manual, "Basic Tar Format").
 *
 * @throws invalid-argument when the checksum or a number is wrong or the type is unknown
 */
export function parseHeader(block: Buffer): RawHeader {
  verifyChecksum(block);
  const magic = block.toString("latin1", 257, 265);
  const format = magic.startsWith("ustar\0") ? "ustar" : magic === "ustar  \0" ? "gnu" : "v7";
  let name = text(block, 0, 100);
  if (format === "ustar") {
    const prefix = text(block, 345, 155);
    if (prefix !== "") name = `${prefix}/${name}`;
  }
  const hasDevice = format !== "v7";
  return {
    kind: kindOf(block[156] ?? 0, name),
    name,
    linkName: text(block, 157, 100),
    mode: number(block, 100, 8, "mode") & 0o7777,
    uid: number(block, 108, 8, "uid"),
    gid: number(block, 116, 8, "gid"),
    size: nonNegative(number(block, 124, 12, "size"), "size"),
    mtimeSeconds: number(block, 136, 12, "mtime"),
    devMajor: hasDevice ? number(block, 329, 8, "device major") : 0,
    devMinor: hasDevice ? number(block, 337, 8, "device minor") : 0,
    format,
  };
}

/** The sparse map in an old GNU sparse header ("S"): up to four regions, and whether extension blocks follow. */
export function parseOldSparse(block: Buffer): { map: SparseRegion[]; extended: boolean; realSize: number } {
  return {
    map: regions(block, 386, 4),
    extended: block[482] !== 0,
    realSize: nonNegative(number(block, 483, 12, "real size"), "real size"),
  };
}

/** An extension block of an old GNU sparse header: up to 21 regions. */
export function parseSparseExtension(block: Buffer): { map: SparseRegion[]; extended: boolean } {
  return { map: regions(block, 0, 21), extended: block[504] !== 0 };
}

/** A piece of a sparse file that has data: where in the file, and how many bytes. */
export interface SparseRegion {
  offset: number;
  length: number;
}

export function malformed(why: string): CridError {
  return new CridError("invalid-argument", `malformed tar: ${why}`);
}

export function isZeroBlock(block: Buffer): boolean {
  for (let at = 0; at < blockSize; at++) if (block[at] !== 0) return false;
  return true;
}

function regions(block: Buffer, start: number, count: number): SparseRegion[] {
  const map: SparseRegion[] = [];
  for (let index = 0; index < count; index++) {
    const at = start + index * 24;
    if (block[at] === 0) break;
    map.push({
      offset: nonNegative(number(block, at, 12, "sparse offset"), "sparse offset"),
      length: nonNegative(number(block, at + 12, 12, "sparse length"), "sparse length"),
    });
  }
  return map;
}

function kindOf(flag: number, name: string): RawHeader["kind"] {
  switch (String.fromCharCode(flag)) {
    case "0":
    case "7":
      return "file";
    case "\0":
      // v7 has no type for directories: a trailing slash tells.
      return name.endsWith("/") ? "directory" : "file";
    case "1":
      return "link";
    case "2":
      return "symlink";
    case "3":
      return "char";
    case "4":
      return "block";
    case "5":
    case "D":
      return "directory";
    case "6":
      return "fifo";
    case "x":
    case "X":
      return "pax";
    case "g":
      return "pax-global";
    case "L":
      return "gnu-long-name";
    case "K":
      return "gnu-long-link";
    case "S":
      return "gnu-sparse";
    case "V":
      return "volume-label";
    default:
      throw malformed(`entry ${JSON.stringify(name)} has the unknown type 0x${flag.toString(16)}`);
  }
}

/** Old writers summed signed bytes; both sums are accepted, as GNU tar does. */
function verifyChecksum(block: Buffer): void {
  let unsigned = 8 * 0x20;
  let negative = 0;
  for (let at = 0; at < blockSize; at++) {
    const byte = block[at] as number;
    unsigned += byte;
    negative += byte >> 7;
  }
  for (let at = 148; at < 156; at++) {
    const byte = block[at] as number;
    unsigned -= byte;
    negative -= byte >> 7;
  }
  const stored = number(block, 148, 8, "checksum");
  if (stored !== unsigned && stored !== unsigned - 256 * negative) throw malformed("header checksum does not match");
}

function text(block: Buffer, start: number, length: number): string {
  let end = start;
  while (end < start + length && block[end] !== 0) end++;
  return end === start ? "" : block.toString("latin1", start, end);
}

/** Octal digits among spaces and zeros, or base-256 when the first bit is set (GNU; two's complement). */
function number(block: Buffer, start: number, length: number, what: string): number {
  if ((block[start] ?? 0) & 0x80) return base256(block, start, length, what);
  const end = start + length;
  let at = start;
  while (at < end && isPadding(block[at])) at++;
  let value = 0;
  for (; at < end && !isPadding(block[at]); at++) {
    const digit = (block[at] ?? 0) - 0x30;
    if (digit < 0 || digit > 7) {
      throw malformed(
        `${what} ${JSON.stringify(block.toString("latin1", start, end).replace(/^[ \0]+|[ \0].*$/gs, ""))} is not an octal number`,
      );
    }
    value = value * 8 + digit;
  }
  return value;
}

function isPadding(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0;
}

function base256(block: Buffer, start: number, length: number, what: string): number {
  const negative = ((block[start] ?? 0) & 0x40) !== 0;
  let value = negative ? -1n : 0n;
  for (let at = start; at < start + length; at++) {
    const byte = BigInt(at === start ? ((block[at] ?? 0) & 0x7f) | (negative ? 0x80 : 0) : (block[at] ?? 0));
    value = (value << 8n) | byte;
  }
  if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) throw malformed(`${what} is out of range`);
  return Number(value);
}

function nonNegative(value: number, what: string): number {
  if (value < 0) throw malformed(`negative ${what}`);
  return value;
}
