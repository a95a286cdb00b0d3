import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isKind } from "../base/errors.ts";
import { parsePax, parseSparseList, paxNumber, paxTime, paxXattrs } from "./tar-pax.ts";
import { paxBody } from "./testkit.ts";

const bytes = (maxLength: number): fc.Arbitrary<Buffer> => fc.uint8Array({ minLength: 1, maxLength }).map((array) => Buffer.from(array));
const key = fc.stringMatching(/^[A-Za-z][A-Za-z.]{0,20}$/).filter((text) => !text.startsWith("GNU.sparse"));

test("records of any bytes are read back", () => {
  fc.assert(
    fc.property(fc.dictionary(key, bytes(300), { maxKeys: 8 }), (records) => {
      assert.deepEqual(parsePax(paxBody(records)).values, new Map(Object.entries(records)));
    }),
  );
});

test("attributes are read back, by either name that writers use", () => {
  const name = fc.stringMatching(/^user\.[a-z]{1,20}$/);
  fc.assert(
    fc.property(fc.dictionary(name, bytes(100), { maxKeys: 4 }), (xattrs) => {
      const expected = new Map(Object.entries(xattrs));
      const written = (prefix: string, encode: (value: Buffer) => Buffer | string): Map<string, Buffer> =>
        paxXattrs(parsePax(paxBody(Object.fromEntries([...expected].map(([own, value]) => [prefix + own, encode(value)])))).values);
      assert.deepEqual(
        written("SCHILY.xattr.", (value) => value),
        expected,
      );
      assert.deepEqual(
        written("LIBARCHIVE.xattr.", (value) => value.toString("base64")),
        expected,
      );
    }),
  );
});

test("times and sparse maps are read back", () => {
  fc.assert(
    fc.property(fc.integer({ min: -(2 ** 40), max: 2 ** 40 }), fc.nat({ max: 999_999_999 }), (seconds, nanos) => {
      // -1.25 stands for what is a quarter of a second before -1.
      const text = seconds >= 0 || nanos === 0 ? [seconds, nanos] : [seconds + 1, 1_000_000_000 - nanos];
      const sign = seconds < 0 && text[0] === 0 ? "-" : "";
      assert.deepEqual(paxTime(Buffer.from(`${sign}${text[0]}.${`${text[1]}`.padStart(9, "0")}`), "mtime"), { seconds, nanos });
    }),
  );
  fc.assert(
    fc.property(
      fc.array(fc.record({ offset: fc.maxSafeNat(), length: fc.maxSafeNat() }, { noNullPrototype: true }), { minLength: 1, maxLength: 20 }),
      (map) => {
        assert.deepEqual(parseSparseList(Buffer.from(map.map(({ offset, length }) => `${offset},${length}`).join(","))), map);
      },
    ),
  );
});

test("any header is read or refused as malformed, in time that grows with its length", () => {
  const body = fc.oneof(
    bytes(200),
    fc
      .array(
        fc.constantFrom(
          "9 path=x\n",
          "30 mtime=1350244992.023960108\n",
          "5 =\n",
          "99999999999999999999 a=b\n",
          "0",
          " ",
          "=",
          "\n",
          "6 a=\n",
          "23 GNU.sparse.offset=1\n",
          "25 GNU.sparse.numbytes=1\n",
        ),
        { maxLength: 8 },
      )
      .map((parts) => Buffer.from(parts.join(""), "latin1")),
  );
  let read = 0;
  fc.assert(
    fc.property(body, (header) => {
      const parsers = [parsePax, (value: Buffer) => paxNumber(value, "k"), (value: Buffer) => paxTime(value, "k"), parseSparseList];
      for (const parse of parsers) {
        try {
          parse(header);
          read++;
        } catch (error) {
          assert.ok(isKind(error, "invalid-argument"), String(error));
        }
      }
    }),
    { numRuns: 3000 },
  );
  assert.ok(read > 100, `${read} were read`);
  const before = process.cpuUsage();
  for (const unit of ["1", "9 path=x\n", "=", " ", ","]) {
    try {
      parsePax(Buffer.from(unit.repeat(Math.floor((1 << 20) / unit.length))));
    } catch (error) {
      assert.ok(isKind(error, "invalid-argument"), String(error));
    }
  }
  assert.ok(process.cpuUsage(before).user < 5_000_000, "a header of a megabyte takes seconds");
});
