import assert from "node:assert/strict";
import { test } from "node:test";
import { constants, createInflate, inflateSync } from "node:zlib";
import fc from "fast-check";
import { headerDictionary, headerDictionaryId } from "./dictionary.ts";
import { SpdyError } from "./frames.ts";
import { HeaderDecoder, HeaderEncoder } from "./header-block.ts";
import { HeaderCompressor } from "./test-client.ts";

/** RFC 1950, section 9. */
function adler32(data: Uint8Array): number {
  let [a, b] = [1, 0];
  for (const byte of data) {
    a = (a + byte) % 65_521;
    b = (b + a) % 65_521;
  }
  return ((b << 16) | a) >>> 0;
}

test("the dictionary is the one that clients name", () => {
  assert.equal(headerDictionary.length, 1423);
  assert.equal(adler32(headerDictionary), headerDictionaryId);
});

const headers = fc.dictionary(
  fc.string({ minLength: 1, maxLength: 20 }).map((name) => name.toLowerCase()),
  fc.string({ maxLength: 300 }),
  { maxKeys: 8 },
);

test("any sequence of blocks of one compressor comes out as it went in", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(headers, { minLength: 1, maxLength: 30 }), fc.integer({ min: 0, max: 9 }), async (blocks, level) => {
      const compressor = new HeaderCompressor(level);
      const decoder = new HeaderDecoder();
      for (const block of blocks) {
        const plain = new Map(Object.entries(block).map(([name, value]) => [name, Buffer.from(value).toString("latin1")]));
        const expected = new Map(
          [...plain].map(([name, value]) => [Buffer.from(name).toString("latin1").toLowerCase(), value.split("\0", 1)[0]]),
        );
        if (expected.size !== plain.size) return;
        assert.deepEqual(decoder.decode(await compressor.block(block)), expected);
      }
      compressor.close();
    }),
    { numRuns: 100 },
  );
});

test("more than a window's worth of blocks", async () => {
  const compressor = new HeaderCompressor(6);
  const decoder = new HeaderDecoder();
  for (let index = 0; index < 2000; index++) {
    const block = { streamtype: index % 2 === 0 ? "data" : "error", port: "8080", requestid: String(index) };
    assert.deepEqual(decoder.decode(await compressor.block(block)), new Map(Object.entries(block)));
  }
  compressor.close();
});

test("a block that inflates without end is refused", async () => {
  const compressor = new HeaderCompressor(9);
  const bomb = await compressor.raw(Buffer.alloc(8 * 1024 * 1024));
  assert.ok(bomb.length < 16 * 1024);
  assert.throws(() => new HeaderDecoder().decode(bomb), SpdyError);
  compressor.close();
});

test("garbage is a SpdyError and nothing else", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (garbage, withHeader) => {
      const prefix = Buffer.from([0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2]);
      try {
        new HeaderDecoder().decode(withHeader ? Buffer.concat([prefix, garbage]) : Buffer.from(garbage));
      } catch (error) {
        assert.ok(error instanceof SpdyError, String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

test("our empty blocks inflate to no headers, by zlib's own account", async () => {
  const encoder = new HeaderEncoder();
  const blocks = [encoder.empty(), encoder.empty(), encoder.empty()];
  const plain = inflateSync(Buffer.concat(blocks), { dictionary: headerDictionary, finishFlush: constants.Z_SYNC_FLUSH });
  assert.deepEqual(plain, Buffer.alloc(12));
  // And each at once, as a client needs them.
  const inflate = createInflate({ dictionary: headerDictionary });
  const got: Buffer[] = [];
  inflate.on("data", (chunk: Buffer) => got.push(chunk));
  for (const [index, block] of blocks.entries()) {
    await new Promise<void>((resolve) => inflate.write(block, () => resolve()));
    assert.equal(Buffer.concat(got).length, (index + 1) * 4);
  }
  inflate.close();
});

test("our empty blocks end with a sync flush: Go's compress/flate hands nothing out before one", () => {
  const encoder = new HeaderEncoder();
  for (const block of [encoder.empty(), encoder.empty()]) assert.deepEqual([...block.subarray(-5)], [0, 0, 0, 0xff, 0xff]);
});
