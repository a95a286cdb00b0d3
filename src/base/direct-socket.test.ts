import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { Writable } from "node:stream";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { connectLoopback } from "../linux/sockets.ts";
import { DirectSocket } from "./direct-socket.ts";
import { DirectReadable, moveFrom, moveInto } from "./direct-streams.ts";

/** A DirectSocket and the other end of its connection. */
async function pair(): Promise<{ near: DirectSocket; far: Socket; [Symbol.dispose]: () => void }> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const fd = connectLoopback(4, (server.address() as AddressInfo).port);
  const [far] = (await once(server, "connection")) as [Socket];
  const near = new DirectSocket({ fd, readable: true, writable: true, allowHalfOpen: true });
  for (const socket of [near.socket, far]) socket.on("error", () => {});
  const dispose = (): void => {
    near.socket.destroy();
    far.destroy();
    server.close();
  };
  return { near, far, [Symbol.dispose]: dispose };
}

test("what is written arrives in order, though its bytes are overwritten afterwards and the reader is slow", async () => {
  using both = await pair();
  const { near, far } = both;
  const wanted = createHash("sha256");
  const got = createHash("sha256");
  far.on("data", (chunk: Buffer) => {
    got.update(chunk);
    far.pause();
    setTimeout(() => far.resume(), 1);
  });
  const body = Buffer.alloc(100_000);
  const header = Buffer.alloc(8);
  let waits = 0;
  for (let round = 0; round < 200; round++) {
    body.fill(round);
    header.fill(255 - round);
    const part = body.subarray(0, (round * 7919) % body.length);
    if (round % 3 === 0) near.writeBoth(header, part);
    else if (round % 3 === 1) near.write(part);
    else for (const piece of [header, part]) near.gather(piece);
    const room = near.flush();
    if (round % 3 !== 1) wanted.update(header);
    wanted.update(part);
    body.fill(0xee);
    if (room) continue;
    waits++;
    assert.ok(near.socket.writableLength > 0);
    await once(near.socket, "drain");
  }
  near.socket.end();
  await once(far, "end");
  assert.ok(waits > 0, "the kernel's buffers were never full");
  assert.equal(got.digest("hex"), wanted.digest("hex"));
});

test("a chunk is sent on with a header before it, and both directions end apart", async () => {
  using one = await pair();
  using two = await pair();
  const header = Buffer.from("head:");
  one.near.start((chunk) => void two.near.writeBoth(header, chunk));
  one.far.write("hello");
  const [said] = (await once(two.far, "data")) as [Buffer];
  assert.equal(said.toString(), "head:hello");
  one.far.end();
  await once(one.near.socket, "end");
  one.near.write(Buffer.from("still"));
  assert.equal(String((await once(one.far, "data"))[0]), "still");
});

test("a sink that does not keep up stops the reading, one that breaks does not", async () => {
  using both = await pair();
  const { near, far } = both;
  let go = (): void => {};
  let taken = 0;
  const sink = new Writable({
    highWaterMark: 1,
    write: (chunk: Buffer, _encoding, done) => {
      taken += chunk.length;
      go = done;
    },
  });
  sink.on("error", () => {});
  const moved = moveFrom(near, sink);
  const before = process.memoryUsage().arrayBuffers;
  let sent = 0;
  while (far.writableLength < 8 << 20) {
    far.write(Buffer.alloc(1 << 20));
    sent += 1 << 20;
  }
  await delay(100);
  assert.equal(near.paused, true);
  assert.ok(taken < 1 << 20, `${taken} bytes were taken`);
  assert.ok(process.memoryUsage().arrayBuffers - before < sent + (2 << 20));
  go();
  await delay(20);
  sink.destroy();
  far.end();
  await moved;
  assert.equal(near.paused, false);
});

test("a source that waits is diverted whole, and ends the socket", async () => {
  using both = await pair();
  const { near, far } = both;
  let rooms = 0;
  const source = new DirectReadable(() => rooms++);
  const shared = Buffer.from("early ");
  assert.equal(source.deliver(shared), true);
  shared.fill("x");
  const moved = moveInto(near, source);
  source.deliver(Buffer.from("late"));
  source.finish();
  let text = "";
  far.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  await once(far, "end");
  await moved;
  assert.equal(text, "early late");
  assert.ok(rooms > 0);
});

test("a reader that went away: the rest is dropped, the source is not held", async () => {
  using both = await pair();
  const { near, far } = both;
  const source = new DirectReadable(() => {});
  const moved = moveInto(near, source);
  far.resetAndDestroy();
  await once(far, "close");
  for (let at = 0; at < 100; at++) {
    source.deliver(Buffer.alloc(100_000));
    assert.equal(source.flush(), true);
  }
  await moved;
  assert.equal(near.socket.destroyed, true);
});
