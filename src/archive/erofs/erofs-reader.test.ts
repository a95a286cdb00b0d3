import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { isKind } from "../../base/errors.ts";
import { TarReader } from "../tar-reader.ts";
import { type RawEntry, rawTar } from "../testkit.ts";
import { ErofsImage, type ImageFile } from "./erofs-reader.ts";
import { ErofsSink } from "./erofs-sink.ts";
import { decodeDirectoryBlock, encodeDirectory, splitDirectory } from "./format.ts";

const work = mkdtempSync(join(tmpdir(), "crid-erofs-reader-"));
after(() => rmSync(work, { recursive: true, force: true }));
let count = 0;

async function imageOf(...entries: RawEntry[]): Promise<string> {
  const path = join(work, `${++count}.erofs`);
  const sink = new ErofsSink(path, Buffer.alloc(16), { maxEntries: 10_000 });
  const reader = new TarReader(sink, { maxEntries: 10_000 });
  reader.push(rawTar(...entries));
  reader.finish();
  await sink.finish();
  return path;
}

const part = fc.stringMatching(/^[a-z]{1,3}$/);
const paths = fc.uniqueArray(fc.array(part, { minLength: 1, maxLength: 4 }), { maxLength: 20, selector: (parts) => parts.join("/") });

test("every file that the sink has written is found, with its attributes, and no other", async () => {
  await fc.assert(
    fc.asyncProperty(paths, fc.array(part, { minLength: 1, maxLength: 5 }), async (all, other) => {
      // A file cannot have files below it: these are directories.
      const isParent = (path: string): boolean => all.some((parts) => parts.join("/").startsWith(`${path}/`));
      const files = new Map(all.map((parts, n) => [parts.join("/"), { mode: 0o600 + (n % 8), uid: n, gid: n + 1, mtime: 1000 + n }]));
      const entries = [...files].map(([path, like]): RawEntry => {
        const xattr = { "SCHILY.xattr.user.path": path };
        return isParent(path) ? { name: `${path}/`, flag: "5", ...like, pax: xattr } : { name: path, body: path, ...like, pax: xattr };
      });
      const path = await imageOf(...entries.sort((a, b) => (a.name < b.name ? -1 : 1)));
      using image = new ErofsImage(path);
      for (const [name, { mode, uid, gid, mtime }] of files) {
        const found = image.lookup(name.split("/"));
        assert.deepEqual(
          [(found?.inode.mode ?? 0) & 0o7777, found?.inode.uid, found?.inode.gid, found?.inode.mtime.seconds],
          [mode, uid, gid, mtime],
          name,
        );
        assert.equal(found?.xattrs.get("user.path")?.toString(), name);
      }
      const absent = other.join("/");
      if (!files.has(absent) && !isParent(absent)) assert.equal(image.lookup(other), undefined);
    }),
    { numRuns: 40 },
  );
});

test("a directory's blocks are read back, as many as it takes", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.stringMatching(/^[a-z]{1,200}$/), { minLength: 1, maxLength: 100 }), (names) => {
      // An image of 16 TiB has inodes up to 2^39.
      const entries = names.sort().map((name, index) => ({ name, nid: index % 2 === 0 ? index : 2 ** 39 - index, mode: 0o100644 }));
      const data = encodeDirectory(entries);
      const blocks = splitDirectory(names);
      const found = blocks.flatMap((_, index) => decodeDirectoryBlock(data.subarray(index * 4096, (index + 1) * 4096)));
      assert.deepEqual(
        found,
        entries.map(({ name, nid }) => ({ name, nid })),
      );
    }),
    { numRuns: 100 },
  );
});

test("any block is a directory, or none", () => {
  const small = fc.uint8Array({ maxLength: 80 });
  const plausible = fc.array(fc.integer({ min: 0, max: 96 }), { minLength: 1, maxLength: 6 }).map((starts) => {
    const block = Buffer.alloc(120, "n");
    for (const [index, start] of starts.entries()) block.writeUInt16LE(start, index * 12 + 8);
    return block;
  });
  fc.assert(
    fc.property(fc.oneof(small, plausible), (bytes) => {
      const entries = decodeDirectoryBlock(Buffer.from(bytes));
      assert.ok(entries === undefined || (entries.length > 0 && entries.length <= bytes.length / 12));
    }),
    { numRuns: 3000 },
  );
});

test("a damaged image answers something or says that it is damaged, and keeps no file open", async () => {
  const names = ["a", "d/b", "d/e/c", ...Array.from({ length: 300 }, (_, n) => `many/a-longer-name-${n}`)];
  const path = await imageOf(...names.map((name): RawEntry => ({ name, body: name, pax: { "SCHILY.xattr.user.k": "v".repeat(50) } })));
  const whole = readFileSync(path);
  const damagedPath = join(work, "damaged");
  const openFiles = (): number => readdirSync("/proc/self/fd").length;
  const before = openFiles();
  let damaged = 0;
  const edit = fc.record({
    // Where it hurts: the superblock, directories, inodes. The data of files are not read.
    at: fc.oneof(fc.integer({ min: 1024, max: 1152 }), fc.nat({ max: whole.length - 1 })),
    bytes: fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 8 }), fc.constant(Buffer.alloc(8, 0xff))),
  });
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 40 }), fc.option(fc.nat({ max: whole.length }), { freq: 5 }), (edits, cut) => {
      const bytes = Buffer.from(whole.subarray(0, cut ?? whole.length));
      for (const { at, bytes: change } of edits) if (at < bytes.length) bytes.set(change.subarray(0, bytes.length - at), at);
      writeFileSync(damagedPath, bytes);
      let found: ImageFile | undefined;
      try {
        using image = new ErofsImage(damagedPath);
        for (const name of [...names, "absent", "d/absent", "many/zzz"]) found = image.lookup(name.split("/")) ?? found;
      } catch (error) {
        assert.ok(isKind(error, "data-loss"), String(error));
        assert.match(error.message, /is damaged: .*; remove the image and pull it again$/);
        damaged++;
      }
      assert.ok(found === undefined || Number.isInteger(found.inode.mode));
    }),
    { numRuns: 500 },
  );
  assert.ok(damaged > 50, `${damaged} were damaged`);
  assert.equal(openFiles(), before);
});
