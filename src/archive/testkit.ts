import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { lgetxattr, llistxattr } from "../linux/xattr.ts";
import { blockSize } from "./tar-header.ts";

/** An entry as it shall stand in an archive, whether a tar would write it so or not. Names are one character a byte. */
export interface RawEntry {
  name: string;
  /** The type flag: "0" file, "1" link, "2" symlink, "3" char, "5" directory, "6" fifo. */
  flag?: string;
  body?: Buffer | string;
  /** What the header says, where that is not the length of the body. */
  size?: number;
  mode?: number;
  uid?: number;
  gid?: number;
  mtime?: number;
  linkName?: string;
  major?: number;
  minor?: number;
  /** Records of an extended header before it. */
  pax?: Record<string, string | Buffer>;
}

/** One ustar entry with its data, and its PAX header before it if it has one. Names over 100 bytes go into the PAX header. */
export function rawEntry(entry: RawEntry): Buffer {
  const { name, flag = "0", body = "", linkName = "", pax = {} } = entry;
  const data = typeof body === "string" ? Buffer.from(body, "latin1") : body;
  const records = { ...pax };
  if (name.length > 100) records.path ??= Buffer.from(name, "latin1");
  if (linkName.length > 100) records.linkpath ??= Buffer.from(linkName, "latin1");
  const header = Buffer.alloc(blockSize);
  header.write(name.slice(0, 100), 0, "latin1");
  const number = (value: number, at: number, length: number): void => {
    if (value >= 0 && value < 8 ** (length - 1)) header.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
    // Base 256, as GNU tar writes it: two's complement with the first bit set.
    else {
      const field = Buffer.alloc(length, value < 0 ? 0xff : 0);
      field.writeBigInt64BE(BigInt(value), length - 8);
      field.writeUInt8((field.readUInt8(0) & 0x7f) | 0x80, 0);
      if (value < 0) field.writeUInt8(0xff, 0);
      field.copy(header, at);
    }
  };
  number(entry.mode ?? 0o644, 100, 8);
  number(entry.uid ?? 0, 108, 8);
  number(entry.gid ?? 0, 116, 8);
  number(entry.size ?? data.length, 124, 12);
  number(entry.mtime ?? 1_600_000_000, 136, 12);
  header.write(flag, 156, "latin1");
  header.write(linkName.slice(0, 100), 157, "latin1");
  header.write("ustar\x0000", 257, "latin1");
  number(entry.major ?? 0, 329, 8);
  number(entry.minor ?? 0, 337, 8);
  fixChecksum(header, 0);
  const whole = Buffer.concat([header, data, Buffer.alloc(-data.length & (blockSize - 1))]);
  const extended = paxBody(records);
  return extended.length === 0 ? whole : Buffer.concat([rawEntry({ name: "pax", flag: "x", body: extended }), whole]);
}

/** An archive of the entries, with its end. */
export function rawTar(...entries: RawEntry[]): Buffer {
  return Buffer.concat([...entries.map(rawEntry), Buffer.alloc(2 * blockSize)]);
}

/** Makes the checksum of the header block at `at` right again. */
export function fixChecksum(archive: Buffer, at: number): void {
  archive.write(" ".repeat(8), at + 148, "latin1");
  let sum = 0;
  for (let index = 0; index < blockSize; index++) sum += archive[at + index] ?? 0;
  archive.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148, "latin1");
}

export function paxBody(records: Record<string, string | Buffer>): Buffer {
  return Buffer.concat(
    Object.entries(records).map(([key, value]) => {
      const rest = Buffer.concat([Buffer.from(` ${key}=`, "latin1"), Buffer.from(value as string), Buffer.from("\n")]);
      let length = rest.length + 1;
      while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length;
      return Buffer.concat([Buffer.from(`${length}`), rest]);
    }),
  );
}

/** Everything that can be seen of a tree, a line a file; the root's own attributes are left out. */
export function describeTree(root: string, path = ""): string[] {
  const at = Buffer.from(`${root}/${path}`, "latin1");
  const stat = lstatSync(at, { bigint: true });
  const xattrs = llistxattr(at)
    .sort()
    .map((name) => `${name}=${lgetxattr(at, name)?.toString("hex") ?? ""}`);
  const what = stat.isFile()
    ? createHash("sha256").update(readFileSync(at)).digest("hex")
    : stat.isSymbolicLink()
      ? readlinkSync(at, "latin1")
      : `${stat.rdev}`;
  const links = stat.isDirectory() ? "" : `links=${stat.nlink}`;
  const line = `${path} ${stat.mode.toString(8)} ${stat.uid}:${stat.gid} ${stat.mtimeNs} ${links} ${what} ${xattrs.join(",")}`;
  const below = stat.isDirectory()
    ? readdirSync(at, "latin1")
        .sort()
        .flatMap((name) => describeTree(root, path === "" ? name : `${path}/${name}`))
    : [];
  return [path === "" ? "" : line, ...below];
}
