import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { fixChecksum, type RawEntry, rawTar } from "./testkit.ts";

/** Below a number, evenly. */
export type Random = (below: number) => number;

export interface FuzzCase {
  archive: Buffer;
  /** How it came about, for people. */
  what: string;
}

/** Numbers that look random and are the same for a seed (xorshift). */
export function randomOf(seed: number): Random {
  let state = (seed ^ 0x9e37_79b9) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return Math.floor(((state >>> 0) / 2 ** 32) * below);
  };
}

const tricky = [
  "a",
  "b",
  "d",
  "d/x",
  "d/y",
  "e/f/g",
  "l",
  "l/x",
  "..",
  "a/../b",
  "/a",
  "//d//z/",
  "./d/./w",
  "d/..",
  ".",
  "",
  "é",
  "a".repeat(99),
];
const flags = "0000011122233445556677Lgx\0SDVK".split("");
const block = 512;

/** Makes cases, one a call: real layers and made up ones, most of them changed. */
export function fuzzCases(random: Random, work: string): () => FuzzCase {
  const bases = [...tarBases(work), ...realLayers()];
  const pick = <T>(of: readonly T[]): T => of[random(of.length)] as T;
  return () => {
    const base = random(3) === 0 ? pick(bases) : { archive: rawTar(...entries(random, pick)), what: "made up" };
    const archive = Buffer.from(base.archive);
    const changes: string[] = [];
    for (let left = random(4); left > 0; left--) changes.push(change(archive, random, pick));
    const end = random(40) === 0 ? random(archive.length) : archive.length;
    return {
      archive: archive.subarray(0, end),
      what: [base.what, ...changes, ...(end < archive.length ? [`cut at ${end}`] : [])].join(", "),
    };
  };
}

function entries(random: Random, pick: <T>(of: readonly T[]) => T): RawEntry[] {
  return Array.from({ length: 1 + random(8) }, (): RawEntry => {
    const flag = pick(["0", "0", "0", "5", "5", "2", "1", "3", "6"]);
    const pax: Record<string, string> = {};
    if (random(6) === 0) pax.mtime = `${random(2e9)}.${random(1e9).toString().padStart(9, "0")}`;
    if (random(8) === 0) pax["SCHILY.xattr.user.k"] = "v".repeat(1 + random(300));
    // An empty one leaves the name as it is, as for Go; for GNU tar it takes the name away.
    if (random(12) === 0) pax.path = pick(tricky) || "p";
    if (random(12) === 0) pax.uid = `${random(2 ** 31)}`;
    const name = pick(tricky);
    return {
      name: flag === "5" && !name.endsWith("/") ? `${name}/` : name,
      flag,
      mode: random(0o10000),
      uid: random(70_000),
      gid: random(70_000),
      mtime: random(2 ** 31),
      ...(flag === "0" ? { body: "x".repeat(random(3) === 0 ? random(9000) : random(20)) } : {}),
      ...(flag === "1" || flag === "2" ? { linkName: pick(tricky) } : {}),
      ...(flag === "3" ? { major: random(300), minor: random(300) } : {}),
      pax,
    };
  });
}

/** One change at random; most headers get a right checksum again, so that what is behind it is reached. */
function change(archive: Buffer, random: Random, pick: <T>(of: readonly T[]) => T): string {
  const headers: number[] = [];
  for (let at = 0; at + block <= archive.length; at += block)
    if (archive.toString("latin1", at + 257, at + 262) === "ustar") headers.push(at);
  const at = pick(headers);
  if (at === undefined || random(5) === 0) {
    const where = random(archive.length);
    archive[where] = random(256);
    return `byte ${where}`;
  }
  const text = (value: string, offset: number, length: number): void => {
    archive.fill(0, at + offset, at + offset + length);
    archive.write(value.slice(0, length), at + offset, "latin1");
  };
  const fields: [string, () => void][] = [
    ["name", () => text(pick(tricky), 0, 100)],
    ["mode", () => text(pick(["0000777", "0007777", "7777777", "abc", "", "     0 "]), 100, 8)],
    ["uid", () => text(pick(["0001750", "7777777", "x", "", "\x80\0\0\0\0\0\0\x07"]), 108, 8)],
    ["size", () => text(pick(["00000000000", "00000000012", "00000001000", "77777777777", "-1", "", "00000000512 "]), 124, 12)],
    ["mtime", () => text(pick(["14000000000", "00000000000", "77777777777", "zz", ""]), 136, 12)],
    ["type", () => text(pick(flags), 156, 1)],
    ["link", () => text(pick(tricky), 157, 100)],
    ["magic", () => text(pick(["ustar\x0000", "ustar  ", "\0\0\0\0\0\0\0\0"]), 257, 8)],
    ["device", () => text(pick(["0000001", "7777777", ""]), 329, 8)],
    ["prefix", () => text(pick(tricky), 345, 155)],
    ["a byte of the header", () => void archive.writeUInt8(random(256), at + random(block))],
    [
      "the entry before it",
      () => {
        const other = pick(headers) ?? at;
        archive.copyWithin(at, other, other + block);
      },
    ],
  ];
  const [name, apply] = pick(fields);
  apply();
  if (random(15) !== 0) fixChecksum(archive, at);
  return `${name} at ${at}`;
}

/** Small archives as GNU tar writes them: each format, sparse files, long names, attributes. */
function tarBases(work: string): FuzzCase[] {
  const tree = join(work, "tree");
  mkdirSync(tree);
  execFileSync("bash", [
    "-c",
    `cd "$0" && mkdir -p d/e ${"n".repeat(110)} && echo one > d/x && ln d/x d/hard && ln -s ../d/x d/e/soft && mknod c c 1 3 && mkfifo p &&
     chmod 4711 d/x && chown 7:8 d/e && truncate -s 20000 s && echo data | dd of=s bs=1 seek=9000 conv=notrunc 2>/dev/null &&
     echo long > ${"n".repeat(110)}/${"m".repeat(60)} && ln -s ${"t".repeat(150)} longlink && setfattr -n user.a -v b d/x 2>/dev/null; true`,
    tree,
  ]);
  return ["posix", "gnu", "ustar", "v7", "oldgnu"].flatMap((format) =>
    [[], ["--sparse"], ["--xattrs"]].flatMap((flags) => {
      if (flags.length > 0 && !(format === "posix" || (format === "gnu" && flags[0] === "--sparse"))) return [];
      // What a format cannot hold it leaves out, with an exit code.
      const { stdout: archive } = spawnSync(
        "tar",
        ["-C", tree, `--format=${format}`, ...flags, "--blocking-factor=1", "--ignore-failed-read", "-cf", "-", "."],
        {
          maxBuffer: 1 << 26,
        },
      );
      return [{ archive, what: `GNU tar ${format} ${flags.join(" ")}` }];
    }),
  );
}

/** The small layers of the test images, if they are there. */
function realLayers(): FuzzCase[] {
  const blobs = join(import.meta.dirname, "../../.tools/registry/docker/registry/v2/blobs/sha256");
  if (!existsSync(blobs)) return [];
  const found: FuzzCase[] = [];
  for (const name of readdirSync(blobs, { recursive: true }).map(String).sort()) {
    const path = join(blobs, name);
    if (!name.endsWith("/data") || statSync(path).size > 30_000) continue;
    const data = readFileSync(path);
    if (data[0] !== 0x1f || data[1] !== 0x8b) continue;
    const archive = gunzipSync(data);
    if (archive.length <= 300_000) found.push({ archive, what: `layer ${name.slice(3, 15)}` });
  }
  return found;
}
