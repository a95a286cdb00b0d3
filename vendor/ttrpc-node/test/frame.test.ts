import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeHeader, type Frame, FrameReader, MAX_PAYLOAD } from "../src/frame.ts";

const frame = fc.record({
  streamId: fc.nat(0xffffffff),
  type: fc.nat(255),
  flags: fc.nat(255),
  payload: fc.uint8Array({ maxLength: 300 }),
});

function encode(frames: { streamId: number; type: number; flags: number; payload: Uint8Array }[]): Buffer {
  return Buffer.concat(frames.flatMap((f) => [encodeHeader(f.payload.length, f.streamId, f.type, f.flags), f.payload]));
}

function plain(frames: Frame[]): unknown[] {
  return frames.map(({ oversize, payload, ...rest }) => ({ ...rest, payload: new Uint8Array(payload), oversize }));
}

test("frames cut at every byte come back whole", () => {
  fc.assert(
    fc.property(fc.array(frame, { minLength: 1, maxLength: 4 }), (frames) => {
      const bytes = encode(frames);
      const want = frames.map((f) => ({ ...f, oversize: 0 }));
      for (let cut = 0; cut <= bytes.length; cut++) {
        const reader = new FrameReader();
        const got = [...reader.push(bytes.subarray(0, cut)), ...reader.push(bytes.subarray(cut))];
        assert.deepEqual(plain(got), want);
        assert.ok(reader.idle);
      }
    }),
    { numRuns: 30 },
  );
});

test("frames cut at random come back whole", () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 6 }), fc.infiniteStream(fc.integer({ min: 1, max: 40 })), (frames, sizes) => {
      const bytes = encode(frames);
      const reader = new FrameReader();
      const got: Frame[] = [];
      for (let at = 0; at < bytes.length; ) {
        const size = Number(sizes.next().value);
        got.push(...reader.push(bytes.subarray(at, at + size)));
        at += size;
      }
      assert.deepEqual(
        plain(got),
        frames.map((f) => ({ ...f, oversize: 0 })),
      );
    }),
  );
});

test("an oversize payload is thrown away, and the frame after it is read", () => {
  const length = MAX_PAYLOAD + 1;
  const reader = new FrameReader();
  assert.deepEqual(reader.push(encodeHeader(length, 7, 1, 0)), []);
  for (let left = length; left > 0; left -= 65536) {
    const got = reader.push(Buffer.alloc(Math.min(left, 65536)));
    if (left > 65536) assert.deepEqual(got, []);
    else assert.deepEqual(plain(got), [{ streamId: 7, type: 1, flags: 0, payload: new Uint8Array(0), oversize: length }]);
  }
  assert.equal(reader.push(encode([{ streamId: 9, type: 1, flags: 0, payload: Buffer.from("x") }]))[0]?.streamId, 9);
});

test("any bytes are some frames", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 })), (chunks) => {
      const reader = new FrameReader({ maxPayload: 32 });
      for (const chunk of chunks) {
        for (const got of reader.push(chunk)) assert.ok(got.payload.length <= 32);
      }
    }),
  );
});
