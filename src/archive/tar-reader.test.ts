import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { pack } from "tar-stream";
import { CridError } from "../base/errors.ts";
import { cleanPath, resolveLink, whiteoutOf } from "./layer-path.ts";
import type { TarEntry } from "./tar-entry.ts";
import { parsePax, paxTime } from "./tar-pax.ts";
import { TarReader, type TarSink } from "./tar-reader.ts";
import { fixChecksum, paxBody, rawEntry, rawTar } from "./testkit.ts";

interface Seen {
  entry: TarEntry;
  data: Buffer;
}

function collector(): TarSink & { seen: Seen[] } {
  const seen: Seen[] = [];
  return {
    seen,
    entry: (entry) => void seen.push({ entry, data: Buffer.alloc(0) }),
    data: (chunk, offset) => {
      const last = seen.at(-1);
      assert.ok(last);
      const grown = Buffer.alloc(Math.max(last.data.length, offset + chunk.length));
      last.data.copy(grown);
      chunk.copy(grown, offset);
      last.data = grown;
    },
    entryEnd: () => undefined,
  };
}

function read(archive: Buffer, cuts: readonly number[] = []): Seen[] {
  const sink = collector();
  const reader = new TarReader(sink, { maxEntries: 1000 });
  let from = 0;
  for (const cut of [...cuts, archive.length]) {
    reader.push(archive.subarray(from, cut));
    from = cut;
  }
  reader.finish();
  return sink.seen;
}

async function written(entries: { name: string; body: Buffer; pax?: Record<string, string> }[]): Promise<Buffer> {
  const stream = pack();
  for (const { name, body, pax } of entries) {
    stream.entry({ name, mode: 0o640, uid: 7, gid: 8, mtime: new Date(1_700_000_000_000), ...(pax === undefined ? {} : { pax }) }, body);
  }
  stream.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const nameArb = fc.stringMatching(/^[a-z]{1,30}(\/[a-zé]{1,60}){0,6}$/);

test("what tar-stream writes is read back, whatever the cuts", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ name: nameArb, body: fc.uint8Array({ maxLength: 2000 }) }), { maxLength: 6 }),
      fc.array(fc.nat(), { maxLength: 8 }),
      async (files, cuts) => {
        const archive = await written(files.map(({ name, body }) => ({ name, body: Buffer.from(body) })));
        const places = cuts.map((cut) => cut % (archive.length + 1)).sort((a, b) => a - b);
        const seen = read(archive, places);
        assert.deepEqual(
          seen.map(({ entry, data }) => [
            Buffer.from(entry.path, "latin1").toString(),
            data.toString("hex"),
            entry.mode,
            entry.uid,
            entry.gid,
          ]),
          files.map(({ name, body }) => [name, Buffer.from(body).toString("hex"), 0o640, 7, 8]),
        );
      },
    ),
    { numRuns: 60 },
  );
});

test("a damaged archive gives a CridError or entries, never another exception", async () => {
  const archive = await written([
    { name: "a/b", body: Buffer.from("hello") },
    { name: "c".repeat(200), body: Buffer.alloc(1500, 1), pax: { "SCHILY.xattr.user.x": "y" } },
  ]);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(archive.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 }),
      fc.nat(archive.length),
      (edits, length) => {
        const damaged = Buffer.from(archive.subarray(0, length));
        for (const [at, byte] of edits) if (at < damaged.length) damaged[at] = byte;
        try {
          read(damaged);
        } catch (error) {
          assert.ok(error instanceof CridError && error.kind === "invalid-argument", String(error));
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test("a cut archive is refused", async () => {
  const archive = await written([{ name: "a", body: Buffer.alloc(1000) }]);
  assert.throws(() => read(archive.subarray(0, 900)), /ends in the middle/);
});

test("pax values are bytes: a file capability survives", () => {
  const value = Buffer.from([1, 0, 0, 2, 0x80, 0xff, 0, 0x0a, 0]);
  const body = Buffer.concat([Buffer.from("SCHILY.xattr.security.capability="), value, Buffer.from("\n")]);
  const record = Buffer.concat([Buffer.from(`${body.length + 3} `), body]);
  assert.deepEqual(parsePax(record).values.get("SCHILY.xattr.security.capability"), value);
});

test("pax times keep their nanoseconds, before 1970 too", () => {
  assert.deepEqual(paxTime(Buffer.from("1700000000.123456789"), "mtime"), { seconds: 1700000000, nanos: 123456789 });
  assert.deepEqual(paxTime(Buffer.from("-1.25"), "mtime"), { seconds: -2, nanos: 750_000_000 });
  assert.deepEqual(paxTime(Buffer.from("3"), "mtime"), { seconds: 3, nanos: 0 });
});

test("global records stay few and small, however many headers bring them, and of sparse files they say nothing", () => {
  const global = (records: Record<string, string>): Buffer => rawEntry({ name: "g", flag: "g", body: paxBody(records) });
  const many = (count: number, value: string): Buffer =>
    Buffer.concat(Array.from({ length: count }, (_, n) => global({ [`k${n}`]: value })));
  assert.throws(() => read(many(3, "v".repeat(500_000))), /more than 1048576 bytes of global records/);
  // The same one over and over again is one record, and yet an entry each time.
  const same = Array.from({ length: 1001 }, () => global({ k: "v".repeat(5000) }));
  assert.equal(read(Buffer.concat([...same.slice(0, 900), rawTar({ name: "f" })])).length, 1);
  assert.throws(() => read(Buffer.concat(same)), /more than 1000 entries/);
  const sparse = rawEntry({ name: "g", flag: "g", body: "26 GNU.sparse.offset=1000\n25 GNU.sparse.numbytes=1\n" });
  assert.deepEqual(read(Buffer.concat([sparse, rawTar({ name: "f", body: "x" })]))[0]?.data, Buffer.from("x"));
  const mixed = Buffer.concat([
    global({ "SCHILY.xattr.user.a": "all", mtime: "7.5" }),
    rawTar({ name: "f", pax: { "SCHILY.xattr.user.b": "own" } }),
  ]);
  const [entry] = read(mixed).map((seen) => seen.entry);
  assert.deepEqual([entry?.mtime, entry?.xattrs], [{ seconds: 7, nanos: 500_000_000 }, new Map([["user.b", Buffer.from("own")]])]);
});

test("a sparse entry whose name ends in a slash is a file, as GNU tar takes it; any other such is a directory", () => {
  const archive = (flag: string, magic: string): Buffer => {
    const bytes = rawTar({ name: "d/z/", flag });
    bytes.write(magic, 257, "latin1");
    fixChecksum(bytes, 0);
    return bytes;
  };
  const types = (flag: string): (string | undefined)[] => read(archive(flag, "ustar  \0")).map(({ entry }) => entry.type);
  assert.deepEqual([types("S"), types("0"), types("7")], [["file"], ["directory"], ["directory"]]);
  for (const magic of ["ustar\x0000", "\0".repeat(8)])
    assert.throws(() => read(archive("S", magic)), /a sparse entry "d\/z\/" with a header that is not GNU's/);
});

test("names of parts that are just short enough take no time", () => {
  const name = Array.from({ length: 16 }, () => "n".repeat(254)).join("/");
  const before = process.cpuUsage();
  for (let n = 0; n < 5000; n++) cleanPath(`${name}${n % 10}`);
  const { user } = process.cpuUsage(before);
  assert.ok(user < 3_000_000, `${user} us`);
  assert.throws(() => cleanPath(`a/${"n".repeat(256)}/b`), /a part of more than 255 bytes/);
  assert.equal(cleanPath(`a/${"n".repeat(255)}`).length, 257);
});

test("names stay below the root", () => {
  assert.equal(cleanPath("./usr//bin/"), "usr/bin");
  assert.equal(cleanPath("/etc/passwd"), "etc/passwd");
  assert.equal(cleanPath("./"), "");
  assert.equal(cleanPath("a..b/.c"), "a..b/.c");
  for (const name of ["..", "a/../../b", "a/..", "/.."]) assert.throws(() => cleanPath(name), /points outside/);
  assert.throws(() => cleanPath("a/".repeat(3000)), /a name of 6000 bytes/);
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("a", ".", "/"), maxLength: 12 }),
      fc.string({ unit: fc.constantFrom("b", ".", "/"), maxLength: 12 }),
      (from, target) => {
        const parts = resolveLink(from === "" ? "" : "d", `${target}${from}`).split("/");
        assert.ok(!parts.includes(".."));
      },
    ),
  );
});

test("whiteouts", () => {
  assert.deepEqual(whiteoutOf(".wh.foo"), { kind: "remove", base: "foo" });
  assert.deepEqual(whiteoutOf(".wh..wh..opq"), { kind: "opaque" });
  assert.deepEqual(whiteoutOf(".wh..wh.plnk"), { kind: "ignored" });
  assert.deepEqual(whiteoutOf("foo.wh."), { kind: "none" });
  for (const base of [".wh.", ".wh..", ".wh..."]) assert.throws(() => whiteoutOf(base), /names no file/);
});
