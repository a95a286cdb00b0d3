import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { digestOf } from "../base/digest.ts";
import { isKind } from "../base/errors.ts";
import { type RawEntry, rawTar } from "./testkit.ts";
import { NameMemory, TreeMemory } from "./tree-memory.ts";
import { unpackLayer } from "./unpack.ts";
import type { UnpackResult, UnpackTarget } from "./unpack-job.ts";

const work = mkdtempSync(join(tmpdir(), "crid-tree-memory-"));
after(() => rmSync(work, { recursive: true, force: true }));
const { signal } = new AbortController();
let count = 0;

/** On this thread: what trees have taken is counted by thread. */
async function unpack(kind: UnpackTarget["kind"], archive: Buffer, maxEntries = 1000): Promise<UnpackResult> {
  const file = join(work, `blob-${++count}`);
  const path = join(work, `out-${count}`);
  writeFileSync(file, archive);
  if (kind === "directory") mkdirSync(path);
  const limits = { maxBytes: 1 << 30, maxEntries };
  return unpackLayer({ file, blobBytes: archive.length, target: { kind, path }, expectedDiffId: digestOf(archive), limits }, { signal });
}

const refused = /cannot be an EROFS image: its names, links and attributes take more memory/;
const layer = rawTar(
  { name: "d/", flag: "5", pax: { "SCHILY.xattr.user.a": "v".repeat(500) } },
  { name: "d/f", body: "x" },
  { name: "l", flag: "2", linkName: "d/f" },
);

test("trees share what there is for them on a thread; what does not fit becomes a directory; what is over gives it back", async () => {
  const others = new TreeMemory(() => new Error("full"));
  others.take(384 * 1024 * 1024 - 1000);
  await assert.rejects(unpack("erofs", layer), (error) => isKind(error, "failed-precondition") && refused.test(error.message));
  assert.throws(() => others.take(1001), /full/);
  others.free();
  others.free();
  assert.equal((await unpack("erofs", layer)).inodes, 4);
  // Of the one that ended, and the one that failed, nothing is left.
  const all = new TreeMemory(() => new Error("full"));
  all.take(384 * 1024 * 1024);
  all.free();
});

test("a layer that describes a tree of gigabytes in a few megabytes", async () => {
  // Two thousand directories an entry, that only names imply.
  const deep = (n: number): RawEntry => ({ name: `${n}/${"d/".repeat(1990)}f` });
  const archive = rawTar(...Array.from({ length: 60 }, (_, n) => deep(n)));
  for (const kind of ["erofs", "directory"] as const) {
    await assert.rejects(unpack(kind, archive, 1000), (error) => {
      assert.ok(isKind(error, "invalid-argument"), String(error));
      assert.match(
        error.message,
        /more than 2000 files and directories \(twice image\.maxLayerEntries\)|names of more than 201326592 bytes/,
      );
      return true;
    });
  }
});

test("attributes that entries of one directory add up are no more than one entry may have", async () => {
  const entry = (n: number): RawEntry => ({ name: "d/", flag: "5", pax: { [`SCHILY.xattr.user.${n}`]: "v".repeat(30_000) } });
  await assert.rejects(
    unpack("erofs", rawTar(...[1, 2, 3].map(entry))),
    (error) => isKind(error, "invalid-argument") && /extended attributes/.test(error.message),
  );
  // The same one again replaces it.
  assert.equal((await unpack("erofs", rawTar(...[1, 1, 1, 1, 2].map(entry)))).inodes, 2);
});

test("names of a directory and of an archive are bounded too", () => {
  const names = new NameMemory();
  const name = "n".repeat(4000);
  assert.throws(() => {
    for (let n = 0; n < 60_000; n++) names.take(name);
  }, /names of more than 201326592 bytes together/);
});
