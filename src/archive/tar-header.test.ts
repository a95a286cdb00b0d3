import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isKind } from "../base/errors.ts";
import { blockSize, parseHeader, parseOldSparse, parseSparseExtension } from "./tar-header.ts";
import { fixChecksum, rawEntry } from "./testkit.ts";

/** Bytes without zero, as a field holds them. */
const fieldText = (maxLength: number): fc.Arbitrary<string> =>
  fc.array(fc.integer({ min: 1, max: 255 }), { minLength: 1, maxLength }).map((bytes) => String.fromCharCode(...bytes));

const kinds = {
  "0": "file",
  "1": "link",
  "2": "symlink",
  "3": "char",
  "4": "block",
  "5": "directory",
  "6": "fifo",
  x: "pax",
  L: "gnu-long-name",
};
const flags = Object.keys(kinds) as (keyof typeof kinds)[];

test("what a writer puts into a header is read back, small numbers and large", () => {
  const number = fc.oneof(fc.nat({ max: 0o7777777 }), fc.integer({ min: -(2 ** 40), max: 2 ** 40 }));
  const fields = fc.record({
    name: fieldText(100),
    linkName: fieldText(100),
    flag: fc.constantFrom(...flags),
    mode: fc.nat({ max: 0o7777 }),
    uid: number,
    gid: number,
    size: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    mtime: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
    major: fc.nat({ max: 4095 }),
    minor: fc.nat({ max: 1_048_575 }),
  });
  fc.assert(
    fc.property(fields, ({ flag, mtime, major, minor, ...rest }) => {
      assert.deepEqual(parseHeader(rawEntry({ ...rest, flag, mtime, major, minor })), {
        ...rest,
        kind: kinds[flag],
        mtimeSeconds: mtime,
        devMajor: major,
        devMinor: minor,
        format: "ustar",
      });
    }),
    { numRuns: 500 },
  );
});

/** Blocks of all sorts, most with a right checksum, so that what is behind it is reached. */
const anyBlock = fc
  .record({
    base: fc.constantFrom(Buffer.alloc(blockSize), rawEntry({ name: "a/b" }), rawEntry({ name: "d/", flag: "5", size: 2 ** 40, uid: -1 })),
    edits: fc.array(
      fc.record({
        at: fc.nat({ max: blockSize - 1 }),
        bytes: fc.oneof(
          fc.uint8Array({ minLength: 1, maxLength: 12 }),
          fc.constantFrom(...["7777777", "\x80\xff\xff", "-1", " ", "8"].map(Buffer.from)),
        ),
      }),
      { maxLength: 6 },
    ),
    fix: fc.boolean(),
  })
  .map(({ base, edits, fix }) => {
    const block = Buffer.from(base);
    for (const { at, bytes } of edits) block.set(bytes.subarray(0, blockSize - at), at);
    if (fix) fixChecksum(block, 0);
    return block;
  });

test("any block is read, with numbers that are whole and not negative where they must not be, or refused as malformed", () => {
  let read = 0;
  fc.assert(
    fc.property(
      fc.oneof(
        anyBlock,
        fc.uint8Array({ minLength: blockSize, maxLength: blockSize }).map((bytes) => Buffer.from(bytes)),
      ),
      (block) => {
        for (const parse of [parseHeader, parseOldSparse, parseSparseExtension]) {
          try {
            const found = parse(block);
            if ("kind" in found) {
              read++;
              for (const value of [found.size, found.uid, found.gid, found.mtimeSeconds, found.devMajor, found.devMinor])
                assert.ok(Number.isSafeInteger(value), JSON.stringify(found));
              assert.ok(found.size >= 0 && found.mode <= 0o7777 && found.name.length <= 256 && found.linkName.length <= 100);
            } else
              for (const { offset, length } of found.map) assert.ok(offset >= 0 && length >= 0 && Number.isSafeInteger(offset + length));
          } catch (error) {
            assert.ok(isKind(error, "invalid-argument"), String(error));
            assert.ok(error.message.length < 400, error.message);
          }
        }
      },
    ),
    { numRuns: 3000 },
  );
  assert.ok(read > 100, `${read} blocks were headers`);
});
