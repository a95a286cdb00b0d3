import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeRequest, decodeResponse, encodeRequest, encodeResponse } from "../src/codec.ts";
import { TtrpcError } from "../src/errors.ts";

const text = fc.string({ unit: "grapheme", maxLength: 20 });
const plainObjects = { noNullPrototype: true };
const bytes = fc.uint8Array({ maxLength: 200 });

test("a request comes back as it was", () => {
  const request = fc.record({
    service: text,
    method: text,
    payload: bytes,
    timeoutNano: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    metadata: fc.uniqueArray(fc.tuple(fc.stringMatching(/^[a-z-]*$/), fc.array(text, { minLength: 1, maxLength: 3 })), {
      selector: ([key]) => key,
    }),
  });
  fc.assert(
    fc.property(request, (given) => {
      const want = { ...given, metadata: new Map(given.metadata) };
      const got = decodeRequest(encodeRequest(want));
      assert.deepEqual({ ...got, payload: new Uint8Array(got.payload ?? []) }, want);
    }),
  );
});

test("a response comes back as it was", () => {
  const status = fc.record(
    {
      code: fc.integer(),
      message: text,
      details: fc.array(fc.record({ typeUrl: text, value: bytes }, plainObjects), { maxLength: 3 }),
    },
    plainObjects,
  );
  fc.assert(
    fc.property(fc.option(status), bytes, (given, payload) => {
      const got = decodeResponse(encodeResponse(given === null ? { payload } : { status: given, payload }));
      assert.deepEqual(new Uint8Array(got.payload), payload);
      const want = given ?? undefined;
      const seen = got.status && { ...got.status, details: got.status.details.map((d) => ({ ...d, value: new Uint8Array(d.value) })) };
      assert.deepEqual(seen, want);
    }),
  );
});

test("an absent payload is not an empty one", () => {
  const call = { service: "s", method: "m", timeoutNano: 0n, metadata: new Map() };
  assert.equal(decodeRequest(encodeRequest(call)).payload, undefined);
  assert.equal(decodeRequest(encodeRequest({ ...call, payload: new Uint8Array(0) })).payload?.length, 0);
});

test("unknown fields are skipped", () => {
  // 15: varint 300; 16: fixed64; 17: fixed32; then service (1) = "s".
  const bytes = Uint8Array.from([0x78, 0xac, 0x02, 0x81, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 0x8d, 0x01, 1, 2, 3, 4, 0x0a, 1, 0x73]);
  assert.equal(decodeRequest(bytes).service, "s");
});

test("any bytes are a message or an INVALID_ARGUMENT", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (input) => {
      for (const decode of [decodeRequest, decodeResponse]) {
        try {
          decode(input);
        } catch (error) {
          assert.ok(error instanceof TtrpcError && error.code === 3, String(error));
        }
      }
    }),
    { numRuns: 2000 },
  );
});
