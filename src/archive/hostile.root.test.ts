import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { isKind } from "../base/errors.ts";
import { detachAll, MS_RDONLY, mount } from "../linux/mount.ts";
import { LayerUnpacker } from "./layer-unpacker.ts";
import { paxBody, type RawEntry, rawEntry, rawTar } from "./testkit.ts";
import type { UnpackResult, UnpackTarget } from "./unpack-job.ts";

const work = mkdtempSync(join(tmpdir(), "crid-hostile-"));
const unpackers = { auto: new LayerUnpacker({ threads: 1 }), builtin: new LayerUnpacker({ threads: 1, gunzip: "builtin" }) };
after(async () => {
  for (const path of mounted) detachAll(path);
  for (const unpacker of Object.values(unpackers)) await unpacker[Symbol.asyncDispose]();
  rmSync(work, { recursive: true, force: true });
});

const mounted: string[] = [];
let count = 0;
const limits = { maxBytes: 64 * 1024 ** 2, maxEntries: 100_000 };
const kinds: UnpackTarget["kind"][] = ["directory", "erofs"];

interface Attempt {
  diffId?: string;
  gunzip?: keyof typeof unpackers;
  /** fsck.erofs 1.5 walks by recursion, and crashes in depths. */
  fsck?: boolean;
}

async function unpack(kind: UnpackTarget["kind"], blob: Buffer, o: Attempt = {}): Promise<{ path: string; result: UnpackResult }> {
  const file = join(work, `blob-${++count}`);
  const path = join(work, `out-${count}`);
  writeFileSync(file, blob);
  mkdirSync(path);
  const target = { kind, path: kind === "erofs" ? `${path}.erofs` : path };
  const expectedDiffId = o.diffId ?? `sha256:${createHash("sha256").update(blob).digest("hex")}`;
  const result = await unpackers[o.gunzip ?? "auto"].unpack(
    { file, blobBytes: blob.length, target, expectedDiffId, limits },
    { signal: AbortSignal.timeout(60_000) },
  );
  if (kind === "erofs") {
    if (o.fsck !== false) execFileSync("fsck.erofs", [target.path]);
    mount(target.path, path, "erofs", MS_RDONLY);
    mounted.push(path);
  }
  return { path, result };
}

const digestOf = (plain: Buffer): string => `sha256:${createHash("sha256").update(plain).digest("hex")}`;
const directories = (depth: number): string => Array.from({ length: depth }, () => "d").join("/");
const sparse = (map: string, size: string, extra: Record<string, string> = {}): RawEntry => ({
  name: "s",
  body: "x".repeat(512),
  pax: { "GNU.sparse.map": map, "GNU.sparse.size": size, ...extra },
});

/** What is refused whatever the form, as the layer's fault. */
const refused: [string, Buffer | (() => Buffer), RegExp][] = [
  ["a name of 4,096 bytes", rawTar({ name: "d/".repeat(2048), flag: "5" }), /a name of 4096 bytes/],
  ["a name of a megabyte less a bit", rawTar({ name: `${"x".repeat(250)}/`.repeat(4000) }), /a name of \d+ bytes/],
  ["a part of 256 bytes", rawTar({ name: "n".repeat(256), body: "x" }), /more than 255 bytes/],
  ["a whiteout of a name too long to be", rawTar({ name: `.wh.${"n".repeat(256)}` }), /more than 255 bytes/],
  [
    "100,000 nested directories, by links to the depths",
    () => {
      const deep = directories(1900);
      const entries: RawEntry[] = [{ name: `${deep}/`, flag: "5" }];
      let at = deep;
      for (let level = 0; level < 52; level++) {
        entries.push({ name: `l${level}`, flag: "2", linkName: at }, { name: `l${level}/${deep}/`, flag: "5" });
        at = `l${level}/${deep}`;
      }
      return rawTar(...entries);
    },
    /a name of \d+ bytes|too many links/,
  ],
  [
    "links to links to nowhere, each a way of 1,900 parts",
    () => {
      const links = Array.from(
        { length: 60 },
        (_, n): RawEntry => ({ name: `l${n}`, flag: "2", linkName: `l${n + 1}/${directories(1900)}` }),
      );
      return rawTar(...links, { name: "l0/x", body: "x" });
    },
    /a name of \d+ bytes|too many links/,
  ],
  ["a link target of 5,000 bytes", rawTar({ name: "l", flag: "2", linkName: "t".repeat(5000) }), /link target of 5000 bytes/],
  ["an empty link target", rawTar({ name: "l", flag: "2" }), /link target of 0 bytes/],
  ["an owner that would be root's once cut to 32 bits", rawTar({ name: "f", pax: { uid: "4294967296" } }), /the owner 4294967296/],
  ["an owner that means 'leave it' to the kernel", rawTar({ name: "f", pax: { gid: "4294967295" } }), /the group 4294967295/],
  ["a negative owner", rawTar({ name: "f", uid: -5 }), /the owner -5/],
  ["a device number that no kernel has", rawTar({ name: "c", flag: "3", major: 70_000, minor: 1 }), /device number/],
  [
    "a hard link to a directory",
    rawTar({ name: "d/", flag: "5" }, { name: "h", flag: "1", linkName: "d" }),
    /hard link "h" to a directory/,
  ],
  ["a hard link of a directory to itself", rawTar({ name: "d/", flag: "5" }, { name: "d", flag: "1", linkName: "d" }), /to a directory/],
  [
    "a hard link to itself that is nowhere above",
    rawTar({ name: "a/", flag: "5" }, { name: "h", flag: "1", linkName: "/" }),
    /to the root/,
  ],
  ["an unknown type", rawTar({ name: "f", flag: "Z" }), /unknown type/],
  ["a root that is a file", rawTar({ name: ".", body: "x" }), /root of the layer is not a directory/],
  ["a size that goes beyond the archive", rawTar({ name: "f", body: "abc", size: 1_000_000 }), /middle of an entry/],
  ["a size that stops short of the data", rawTar({ name: "f", body: "A".repeat(2000), size: 100 }), /malformed tar/],
  ["a negative size", rawTar({ name: "f", size: -1 }), /negative size/],
  ["a size beyond 64 bits", rawTar({ name: "f", pax: { size: "99999999999999999999999" } }), /size is not a number/],
  ["files of exabytes in a tar of a kilobyte", rawTar(sparse("0,512", "9007199254740991")), /image\.maxLayerBytes/],
  ["many files of many holes", rawTar(...Array.from({ length: 80 }, () => sparse("0,512", "1048576"))), /image\.maxLayerBytes/],
  ["sparse regions that overlap", rawTar(sparse("0,256,128,256", "4096")), /overlap/],
  ["sparse regions in reverse", rawTar(sparse("2048,256,0,256", "4096")), /overlap/],
  ["sparse regions beyond the end", rawTar(sparse("4000,512", "4096")), /leave the file/],
  ["sparse regions of another size than the data", rawTar(sparse("0,100", "4096")), /do not add up/],
  ["an odd sparse map", rawTar(sparse("0,512,7", "4096")), /odd number/],
  ["a sparse map that is text", rawTar(sparse("a,b", "4096")), /not a number/],
  [
    "a sparse map that does not end",
    rawTar({ name: "s", body: "9".repeat(8192), pax: { "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9" } }),
    /does not end|bad number/,
  ],
  [
    "a million sparse regions and one",
    rawTar({ name: "s", body: "1000001\n", pax: { "GNU.sparse.major": "1" } }),
    /too many sparse|does not end/,
  ],
  ["a PAX header of 2 MiB", rawTar({ name: "f", pax: { comment: "c".repeat(2 << 20) } }), /extension header of/],
  [
    "a PAX record that is longer than its header",
    Buffer.concat([rawEntry({ name: "p", flag: "x", body: "99 path=x\n" }), rawTar()]),
    /pax record/,
  ],
  ["a PAX record without a length", Buffer.concat([rawEntry({ name: "p", flag: "x", body: "path=x\n" }), rawTar()]), /pax record/],
  ["a PAX path with a zero byte", rawTar({ name: "f", pax: { path: "a\0b" } }), /zero byte/],
  ["an attribute's name with a zero byte", rawTar({ name: "f", pax: { "SCHILY.xattr.user.a\0b": "v" } }), /zero byte/],
  ["attributes of 70 KB", rawTar({ name: "f", pax: { "SCHILY.xattr.user.a": "v".repeat(70_000) } }), /extended attributes/],
  ["a PAX time that is no time", rawTar({ name: "f", pax: { mtime: "1e99" } }), /not a time/],
  [
    "a thousand global records and more",
    Buffer.concat([
      rawEntry({ name: "g", flag: "g", body: paxBody(Object.fromEntries(Array.from({ length: 1001 }, (_, n) => [`k${n}`, "v"]))) }),
      rawTar({ name: "f" }),
    ]),
    /global records/,
  ],
  [
    "an extension header at the end",
    Buffer.concat([rawEntry({ name: "p", flag: "x", body: "9 path=x\n" }), rawTar()]),
    /pax record|after an extension/,
  ],
  ["more entries than the limit", () => Buffer.concat(Array.from({ length: 100_001 }, () => smallEntry)), /image\.maxLayerEntries/],
  ["an empty blob", Buffer.alloc(0), /malformed tar|diff id|ends/],
];
const smallEntry = rawEntry({ name: "f" });

for (const kind of kinds) {
  for (const [what, archive, message] of refused) {
    test(`${kind}: refused: ${what}`, async () => {
      const blob = typeof archive === "function" ? archive() : archive;
      await assert.rejects(unpack(kind, blob, { diffId: blob.length === 0 ? "sha256:0" : digestOf(blob) }), (error) => {
        assert.ok(isKind(error, "invalid-argument"), String(error));
        assert.match(error.message, message);
        return true;
      });
    });
  }

  test(`${kind}: as deep as a path can be`, async () => {
    const deep = directories(2000);
    const { path } = await unpack(kind, rawTar({ name: `${deep}/f`, body: "deep" }), { fsck: false });
    // A path of the mount point and all this is over PATH_MAX for the kernel: go there in two steps.
    const half = directories(1000);
    const text = execFileSync("sh", ["-c", `cd -P "$0/${half}" && cd -P "${half}" && cat f`, path]).toString();
    assert.equal(text, "deep");
  });

  test(`${kind}: names of 255 bytes, all bytes but zero and slash`, async () => {
    const all = String.fromCharCode(...Array.from({ length: 255 }, (_, n) => n + 1).filter((byte) => byte !== 0x2f));
    const { path } = await unpack(kind, rawTar({ name: all, body: "a" }, { name: "n".repeat(255), body: "b" }));
    assert.equal(readFileSync(Buffer.concat([Buffer.from(`${path}/`), Buffer.from(all, "latin1")]), "utf8"), "a");
    assert.equal(readFileSync(join(path, "n".repeat(255)), "utf8"), "b");
  });

  test(`${kind}: conflicting entries: the last one counts`, async () => {
    const { path } = await unpack(
      kind,
      rawTar(
        { name: "a", body: "file" },
        { name: "a/", flag: "5" },
        { name: "a/x", body: "1" },
        { name: "a/x", body: "2" },
        { name: "b/", flag: "5" },
        { name: "b/y", body: "below" },
        { name: "b", body: "now a file" },
        { name: "c", flag: "2", linkName: "a" },
        { name: "c/", flag: "5" },
        { name: "c/z", body: "not in a" },
      ),
    );
    assert.equal(readFileSync(join(path, "a/x"), "utf8"), "2");
    assert.equal(readFileSync(join(path, "b"), "utf8"), "now a file");
    assert.equal(readFileSync(join(path, "c/z"), "utf8"), "not in a");
    assert.throws(() => statSync(join(path, "a/z")));
  });

  test(`${kind}: a directory that gives way to a link out of the layer: nothing behind the link is touched, now or at the commit`, async () => {
    const outside = mkdtempSync(join(tmpdir(), "crid-outside-"));
    try {
      mkdirSync(join(outside, "z/implied"), { recursive: true });
      const before = statSync(join(outside, "z"), { bigint: true });
      const { path, result } = await unpack(
        kind,
        rawTar(
          { name: "d/z/", flag: "5", mode: 0o777, uid: 1000, mtime: 1 },
          { name: "d/z/implied/x", body: "x" },
          ...(kind === "directory" ? [{ name: "d/z/foreign", flag: "1", linkName: "in/a/layer/below" }] : []),
          { name: "d", flag: "2", linkName: outside },
        ),
      );
      const now = statSync(join(outside, "z"), { bigint: true });
      assert.deepEqual([now.mode, now.uid, now.mtimeNs], [before.mode, before.uid, before.mtimeNs]);
      assert.deepEqual(result.fixups, { impliedDirectories: [""], foreignLinks: [] });
      assert.equal(readlinkSync(join(path, "d")), outside);
    } finally {
      rmSync(outside, { recursive: true, force: true });
    }
  });

  test(`${kind}: a directory and a file in one place, 20,000 times over, in little time`, async () => {
    const many = Array.from({ length: 20_000 }, (_, n): RawEntry => ({ name: `d${n}/`, flag: "5" }));
    const turns = Array.from({ length: 2000 }, (_, n): RawEntry => (n % 2 === 0 ? { name: "t/", flag: "5" } : { name: "t", body: "x" }));
    const { result } = await unpack(kind, rawTar(...many, ...turns));
    assert.ok(result.inodes >= 20_001);
  });

  test(`${kind}: devices are made as they are, and ids up to the last`, async () => {
    const { path } = await unpack(
      kind,
      rawTar(
        { name: "c", flag: "3", major: 4095, minor: 1_048_575 },
        { name: "b", flag: "4", major: 8, minor: 1 },
        { name: "p", flag: "6" },
        { name: "f", pax: { uid: "4294967294", gid: "4294967294" } },
      ),
    );
    const device = statSync(join(path, "c"));
    assert.equal(device.rdev, Number((0xfffn << 8n) | 0xffn | (0xfff00n << 12n)));
    assert.equal(statSync(join(path, "f")).uid, 4294967294);
  });

  test(`${kind}: what stands behind the end of the tar, and zeros behind the gzip, do no harm; garbage behind the gzip is refused`, async () => {
    for (const body of ["x", noise(3 << 20)]) {
      const plain = Buffer.concat([rawTar({ name: "f", body }), Buffer.alloc(5000, "garbage")]);
      const zipped = gzipSync(plain);
      for (const gunzip of ["auto", "builtin"] as const) {
        const { path } = await unpack(kind, Buffer.concat([zipped, Buffer.alloc(512)]), { diffId: digestOf(plain), gunzip });
        assert.equal(statSync(join(path, "f")).size, body.length);
        const garbage = Buffer.concat([zipped, Buffer.from("not gzip at all")]);
        await assert.rejects(unpack(kind, garbage, { diffId: digestOf(plain), gunzip }), /damaged compressed data/);
      }
    }
  });

  test(`${kind}: several gzip members, several zstd frames`, async () => {
    const plain = rawTar({ name: "f", body: "x".repeat(3_000_000) }, { name: "g", body: "y" });
    const cuts = [0, 100, 1_000_000, plain.length];
    for (const pack of [gzipSync, zstdCompressSync]) {
      const blob = Buffer.concat(cuts.slice(1).map((end, index) => pack(plain.subarray(cuts[index], end))));
      const { path } = await unpack(kind, blob, { diffId: digestOf(plain) });
      assert.equal(readFileSync(join(path, "g"), "utf8"), "y");
      assert.equal(statSync(join(path, "f")).size, 3_000_000);
    }
  });
}

/** Bytes that do not compress, so that the blob is large enough for a gunzip of its own. */
function noise(bytes: number): Buffer {
  const parts: Buffer[] = [];
  for (let n = 0; n * 32 < bytes; n++) parts.push(createHash("sha256").update(`${n}`).digest());
  return Buffer.concat(parts, bytes);
}

test("a cut gzip, a damaged one, and a right one of another content, with every gunzip", async () => {
  const plain = rawTar({ name: "f", body: noise(4 << 20) });
  const blob = gzipSync(plain);
  const damagedBlob = Buffer.from(blob);
  damagedBlob.fill(0x55, 2 << 20, (2 << 20) + 4096);
  const cases: [Buffer, RegExp][] = [
    [blob.subarray(0, blob.length - 1000), /damaged compressed data/],
    [blob.subarray(0, blob.length - 4), /damaged compressed data/],
    [damagedBlob, /damaged compressed data|diff id/],
    [gzipSync(rawTar({ name: "g", body: noise(4 << 20) })), /diff id/],
  ];
  for (const kind of kinds) {
    for (const gunzip of ["auto", "builtin"] as const) {
      assert.ok((await unpack(kind, blob, { diffId: digestOf(plain), gunzip })).result.inodes >= 1);
      for (const [bad, message] of cases) {
        await assert.rejects(unpack(kind, bad, { diffId: digestOf(plain), gunzip }), (error) => {
          assert.ok(isKind(error, "invalid-argument"), String(error));
          assert.match(error.message, message);
          return true;
        });
      }
    }
  }
});

test("a bomb: a gigabyte of zeros in a megabyte is refused at the limit, and takes no memory", async () => {
  // 3 GiB of zeros as several members: large enough for a gunzip of its own.
  const member = gzipSync(Buffer.alloc(256 << 20), { level: 9 });
  const bombs = [
    Buffer.concat([gzipSync(rawEntry({ name: "f", size: 3 * 1024 ** 3 })), ...Array.from({ length: 12 }, () => member)]),
    Buffer.concat([gzipSync(rawTar({ name: "f" })), ...Array.from({ length: 12 }, () => member)]),
    zstdCompressSync(Buffer.concat([rawTar({ name: "f" }), Buffer.alloc(256 << 20)])),
  ];
  const before = process.memoryUsage().rss;
  for (const bomb of bombs) {
    for (const kind of kinds) {
      for (const gunzip of ["auto", "builtin"] as const) {
        await assert.rejects(unpack(kind, bomb, { diffId: "sha256:0", gunzip }), (error) => {
          assert.ok(isKind(error, "invalid-argument"), String(error));
          assert.match(error.message, /image\.maxLayerBytes/);
          return true;
        });
      }
    }
  }
  assert.ok(process.memoryUsage().rss - before < 150 * 1024 ** 2);
});

test("a zstd window of 2 GiB is refused", async () => {
  const plain = rawTar({ name: "f", body: "x" });
  const blob = execFileSync("zstd", ["--ultra", "--long=31", "-c", "--no-progress"], { input: plain });
  for (const kind of kinds) {
    await assert.rejects(unpack(kind, blob, { diffId: digestOf(plain) }), (error) => {
      assert.ok(isKind(error, "invalid-argument"), String(error));
      assert.match(error.message, /damaged compressed data/);
      return true;
    });
  }
});
