import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { test } from "node:test";
import fc from "fast-check";
import type { CridError } from "../base/errors.ts";
import { Multiplexer } from "./multiplexer.ts";

/** A connection in memory: what is written on one end is read on the other, in the given pieces. */
function pair(pieces: () => number): [Duplex, Duplex] {
  const ends: Duplex[] = [];
  const make = (other: number): Duplex =>
    new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        for (let at = 0; at < chunk.length; ) {
          const size = Math.max(1, pieces());
          ends[other]?.push(chunk.subarray(at, at + size));
          at += size;
        }
        done();
      },
      final(done) {
        ends[other]?.push(null);
        done();
      },
    });
  ends.push(make(1), make(0));
  return ends as [Duplex, Duplex];
}

test("bytes arrive whole and in order on the connection they were written on, however the trunk cuts them", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom(1, 2), fc.uint8Array({ minLength: 1, maxLength: 9000 })), { maxLength: 12 }),
      fc.integer({ min: 1, max: 5000 }),
      async (writes, size) => {
        const [left, right] = pair(() => size);
        const fail = (error: CridError): void => assert.fail(error.message);
        const [from, to] = [new Multiplexer(left, [1, 2], fail), new Multiplexer(right, [1, 2], fail)];
        const got = new Map([1, 2].map((id) => [id, [] as Buffer[]]));
        for (const [id, chunks] of got) to.channel(id).on("data", (chunk: Buffer) => chunks.push(chunk));
        for (const [id, bytes] of writes) from.channel(id).write(bytes);
        await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
        for (const [id, chunks] of got) {
          const sent = Buffer.concat(writes.filter(([to]) => to === id).map(([, bytes]) => bytes));
          assert.deepEqual(Buffer.concat(chunks), sent);
        }
        from.close();
        to.close();
      },
    ),
    { numRuns: 100 },
  );
});

test("no bytes make it throw: they are read, or the connection is closed with a reason", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 10 }), (chunks) => {
      const [left, right] = pair(() => 1000);
      let reason = "";
      const mux = new Multiplexer(right, [1, 2], (error) => {
        reason = error.message;
      });
      for (const chunk of chunks) if (!right.destroyed) right.emit("data", Buffer.from(chunk));
      if (reason !== "") assert.match(reason, /^it sent a frame /);
      mux.close();
      left.destroy();
    }),
    { numRuns: 300 },
  );
});

test("a long write is a frame of 4096 bytes and one with the rest, as Go's peers can read them", async () => {
  const [left, right] = pair(() => 1 << 20);
  const mux = new Multiplexer(left, [1], () => {});
  const chunks: Buffer[] = [];
  right.on("data", (chunk: Buffer) => chunks.push(chunk));
  mux.channel(1).write(Buffer.alloc(10_000));
  await new Promise((resolve) => setImmediate(resolve));
  const bytes = Buffer.concat(chunks);
  assert.equal(bytes.length, 8 + 4096 + 8 + 5904);
  assert.deepEqual([bytes.readUInt32BE(0), bytes.readUInt32BE(4)], [1, 4096]);
  assert.deepEqual([bytes.readUInt32BE(8 + 4096), bytes.readUInt32BE(8 + 4096 + 4)], [1, 5904]);
  mux.close();
});
