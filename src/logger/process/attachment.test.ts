import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { FrameReader } from "../attach-reader.ts";
import { FRAME_END, FRAME_ERROR } from "../protocol.ts";
import { Attachment } from "./attachment.ts";

class SocketPair implements AsyncDisposable {
  readonly near: Socket;
  readonly far: Socket;
  readonly #server: ReturnType<typeof createServer>;

  private constructor(near: Socket, far: Socket, server: ReturnType<typeof createServer>) {
    this.near = near;
    this.far = far;
    this.#server = server;
  }

  static async make(): Promise<SocketPair> {
    const server = createServer();
    server.listen(`\0crid-attachment-test-${process.pid}-${Math.random()}`);
    await once(server, "listening");
    const far = connect(String(server.address()));
    const [near] = (await once(server, "connection")) as [Socket];
    return new SocketPair(near, far, server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.near.destroy();
    this.far.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

const chunk = Buffer.alloc(64 * 1024, "x");

/** Writes as long as the attachment lets a container go on. */
function fill(attachment: Attachment): number {
  let count = 0;
  while (!attachment.blocked && count < 1000) {
    attachment.write("stdout", chunk);
    count++;
  }
  return count;
}

test("a reader that has stopped blocks its container for stallMs at most, and is told so when it wakes up", async () => {
  await using pair = await SocketPair.make();
  let changes = 0;
  const attachment = new Attachment({ socket: pair.near, stdout: true, stderr: true, stallMs: 200, onChange: () => changes++ });
  pair.far.pause();
  const count = fill(attachment);
  assert.ok(count * chunk.length < 3 * 1024 * 1024, `${count} chunks wait`);
  await delay(300);
  assert.equal(attachment.blocked, false);
  assert.equal(attachment.gone, true);
  assert.equal(changes, 1);
  const frames: number[] = [];
  const reader = new FrameReader((type) => frames.push(type));
  pair.far.on("data", (data: Buffer) => reader.push(data));
  pair.far.resume();
  await once(pair.far, "end");
  assert.equal(frames.at(-1), FRAME_ERROR);
});

test("a reader that wakes up no more is cut off", async () => {
  await using pair = await SocketPair.make();
  const attachment = new Attachment({ socket: pair.near, stdout: true, stderr: true, stallMs: 50, onChange: () => {} });
  pair.far.pause();
  fill(attachment);
  await once(pair.near, "close");
  assert.equal(attachment.gone, true);
});

test("a slow reader that goes on reading is waited for, and gets every byte", async () => {
  await using pair = await SocketPair.make();
  const { promise: unblocked, resolve } = Promise.withResolvers<void>();
  const attachment = new Attachment({ socket: pair.near, stdout: true, stderr: true, stallMs: 150, onChange: resolve });
  let bytes = 0;
  const ended = Promise.withResolvers<void>();
  const reader = new FrameReader((type, payload) => {
    bytes += payload.length;
    if (type === FRAME_END) ended.resolve();
  });
  // About 128 KiB each 50 ms: the whole of what waits takes longer than stallMs.
  pair.far.on("data", (data: Buffer) => {
    reader.push(data);
    pair.far.pause();
    setTimeout(() => pair.far.resume(), 25);
  });
  const count = fill(attachment);
  await unblocked;
  assert.equal(attachment.gone, false);
  attachment.end();
  await ended.promise;
  assert.equal(bytes, count * chunk.length);
});
