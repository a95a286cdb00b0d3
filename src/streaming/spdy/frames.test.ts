import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  dataHeader,
  FLAG_FIN,
  type Frame,
  FrameParser,
  goAway,
  ping,
  reset,
  SpdyError,
  settingsInitialWindow,
  synReply,
  synStream,
  windowUpdate,
} from "./frames.ts";

const id = fc.integer({ min: 1, max: 0x7fff_ffff });
const word = fc.integer({ min: 0, max: 0x7fff_ffff });
const bytes = fc.uint8Array({ maxLength: 60 }).map((data) => Buffer.from(data));

const wire = fc.oneof(
  fc
    .record({ id, bytes, fin: fc.boolean() })
    .map((f): [Buffer, Frame] => [
      Buffer.concat([dataHeader(f.id, f.bytes.length, f.fin ? FLAG_FIN : 0), f.bytes]),
      { type: "data", streamId: f.id, fin: f.fin, payload: f.bytes },
    ]),
  fc
    .record({ id, bytes, fin: fc.boolean() })
    .map((f): [Buffer, Frame] => [
      synStream(f.id, f.bytes, f.fin ? FLAG_FIN : 0),
      { type: "syn-stream", streamId: f.id, fin: f.fin, unidirectional: false, block: f.bytes },
    ]),
  fc
    .record({ id, bytes })
    .map((f): [Buffer, Frame] => [synReply(f.id, f.bytes), { type: "syn-reply", streamId: f.id, fin: false, block: f.bytes }]),
  fc.record({ id, word }).map((f): [Buffer, Frame] => [reset(f.id, f.word), { type: "reset", streamId: f.id, status: f.word }]),
  fc.record({ word }).map((f): [Buffer, Frame] => [ping(f.word), { type: "ping", id: f.word }]),
  fc.record({ id, word }).map((f): [Buffer, Frame] => [goAway(f.id, f.word), { type: "goaway", status: f.word }]),
  fc
    .record({ id, word })
    .map((f): [Buffer, Frame] => [windowUpdate(f.id, f.word), { type: "window-update", streamId: f.id, delta: f.word }]),
  fc.record({ word }).map((f): [Buffer, Frame] => [settingsInitialWindow(f.word), { type: "settings", initialWindow: f.word }]),
);

function parse(chunks: Buffer[]): Frame[] {
  const frames: Frame[] = [];
  const parser = new FrameParser((frame) => frames.push(frame.type === "data" ? { ...frame, payload: Buffer.from(frame.payload) } : frame));
  for (const chunk of chunks) parser.push(chunk);
  return frames;
}

/** Pieces of one data frame joined again. */
function joinData(frames: Frame[], lengths: number[]): Frame[] {
  const joined: Frame[] = [];
  let frame = 0;
  for (const length of lengths) {
    const first = frames[frame++];
    if (first === undefined) break;
    if (first.type !== "data") {
      joined.push(first);
      continue;
    }
    let { payload, fin } = first;
    while (payload.length < length) {
      const next = frames[frame++];
      assert.ok(next?.type === "data" && next.streamId === first.streamId && !fin);
      payload = Buffer.concat([payload, next.payload]);
      fin = next.fin;
    }
    joined.push({ ...first, payload, fin });
  }
  assert.equal(frame, frames.length);
  return joined;
}

test("frames cut anywhere are the frames that were sent", () => {
  fc.assert(
    fc.property(fc.array(wire, { maxLength: 12 }), fc.array(fc.nat(), { maxLength: 12 }), (sent, cuts) => {
      const all = Buffer.concat(sent.map(([encoded]) => encoded));
      const at = [0, ...cuts.map((cut) => cut % (all.length + 1)), all.length].sort((a, b) => a - b);
      const chunks = at.slice(1).map((end, index) => all.subarray(at[index], end));
      const lengths = sent.map(([, frame]) => (frame.type === "data" ? frame.payload.length : 0));
      assert.deepEqual(
        joinData(parse(chunks), lengths),
        sent.map(([, frame]) => frame),
      );
    }),
    { numRuns: 1000 },
  );
});

test("one byte at a time", () => {
  const all = Buffer.concat([synStream(1, Buffer.from("block")), dataHeader(1, 3), Buffer.from("abc"), ping(1)]);
  const frames = parse(Array.from(all, (byte) => Buffer.from([byte])));
  assert.deepEqual(
    frames.map(({ type }) => type),
    ["syn-stream", "data", "data", "data", "ping"],
  );
});

test("garbage is a SpdyError and nothing else", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.boolean(), (garbage, control) => {
      const chunk = Buffer.from(garbage);
      // A valid beginning, so that more than the version check is reached.
      if (control) chunk.set([0x80, 3, 0].slice(0, chunk.length), 0);
      try {
        new FrameParser(() => {}).push(chunk);
      } catch (error) {
        assert.ok(error instanceof SpdyError, String(error));
      }
    }),
    { numRuns: 3000 },
  );
});

test("a control frame of another version or too long is refused before its content comes", () => {
  const frame = ping(1);
  frame[1] = 2;
  assert.throws(() => new FrameParser(() => {}).push(frame), /version 2/);
  const long = synStream(1, Buffer.alloc(0));
  long.writeUIntBE(0xff_ffff, 5, 3);
  assert.throws(() => new FrameParser(() => {}).push(long.subarray(0, 8)), /16777215 bytes/);
});
