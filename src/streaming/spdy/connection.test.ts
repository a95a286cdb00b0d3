import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { SpdyConnection } from "./connection.ts";
import { dataHeader, goAway, ping, reset, settingsInitialWindow, synStream, windowUpdate } from "./frames.ts";
import type { SpdyStream } from "./stream.ts";
import { SpdyTestClient } from "./test-client.ts";
import { StreamTransport } from "./transport.ts";

/** A client and the server's connection, over TCP. */
class Pair implements AsyncDisposable {
  readonly client: SpdyTestClient;
  readonly connection: SpdyConnection;
  readonly #streams: SpdyStream[] = [];
  readonly #server: ReturnType<typeof createServer>;
  onStream: (stream: SpdyStream) => void = () => {};

  private constructor(client: SpdyTestClient, transport: Socket, server: ReturnType<typeof createServer>, maxStreams: number) {
    this.client = client;
    this.#server = server;
    this.connection = new SpdyConnection({
      transport: new StreamTransport(transport),
      maxStreams,
      onStream: (stream) => {
        this.#streams.push(stream);
        this.onStream(stream);
      },
    });
  }

  static async make(maxStreams = 8): Promise<Pair> {
    const server = createServer({ allowHalfOpen: true });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    const [transport] = (await once(server, "connection")) as [Socket];
    return new Pair(SpdyTestClient.over(socket), transport, server, maxStreams);
  }

  async stream(index: number): Promise<SpdyStream> {
    for (;;) {
      const stream = this.#streams[index];
      if (stream !== undefined) return stream;
      await delay(2);
    }
  }

  /** The status of the goodbye, once it has come. */
  async goodbye(): Promise<number> {
    await this.client.closed();
    const frame = this.client.frames.find(({ type }) => type === "goaway");
    assert.ok(frame?.type === "goaway");
    return frame.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    this.connection.destroy();
    await this.connection.closed;
    this.#server.close();
  }
}

test("streams echo, and half-closes cross apart", async () => {
  await using pair = await Pair.make();
  pair.onStream = (stream) => void stream.input.pipe(stream.output);
  const streams = await Promise.all(["a", "b", "c"].map((name) => pair.client.open({ name })));
  for (const [index, stream] of streams.entries()) stream.output.end(`hello ${index}`);
  for (const [index, stream] of streams.entries()) assert.equal(await text(stream.input), `hello ${index}`);
  assert.equal((await pair.stream(1)).headers.get("name"), "b");
  assert.equal((await pair.stream(1)).closed, true);
});

test("pings are answered, ours are not taken for the client's", async () => {
  await using pair = await Pair.make();
  pair.client.socket.write(Buffer.concat([ping(2), ping(1), ping(77)]));
  while (pair.client.frames.length < 2) await delay(2);
  assert.deepEqual(pair.client.frames, [
    { type: "ping", id: 1 },
    { type: "ping", id: 77 },
  ]);
});

test("a reset ends the input, breaks the output, and tells the owner", async () => {
  await using pair = await Pair.make();
  let broken = 0;
  pair.onStream = (stream) => {
    void stream.input;
    stream.onBroken = () => broken++;
  };
  const { id, output } = await pair.client.open({});
  output.write("some");
  const stream = await pair.stream(0);
  pair.client.socket.write(reset(id, 5));
  assert.equal(await text(stream.input), "some");
  assert.equal(broken, 1);
  await new Promise<void>((resolve) => stream.output.write("more", () => resolve()));
  assert.equal(stream.output.destroyed, true);
  assert.equal(pair.connection.open, true);
});

test("after the client's goodbye its streams go on", async () => {
  await using pair = await Pair.make();
  pair.onStream = (stream) => void stream.input.pipe(stream.output);
  const stream = await pair.client.open({});
  pair.client.socket.write(goAway(0, 0));
  stream.output.end("still");
  assert.equal(await text(stream.input), "still");
});

test("close resets what is open, says goodbye, and everything sent before arrives", async () => {
  await using pair = await Pair.make();
  const stream = await pair.client.open({});
  const { output } = await pair.stream(0);
  await new Promise<void>((resolve) => output.write(Buffer.alloc(3_000_000, "x"), () => resolve()));
  const got = text(stream.input);
  pair.connection.close();
  assert.equal((await got).length, 3_000_000);
  assert.equal(await pair.goodbye(), 0);
  await pair.connection.closed;
});

test("a client that does flow control is held to its windows, and granted what was read", async () => {
  await using pair = await Pair.make();
  pair.onStream = (stream) => void stream.input.resume();
  pair.client.socket.write(settingsInitialWindow(1000));
  const stream = await pair.client.open({});
  const { output } = await pair.stream(0);
  output.end(Buffer.alloc(100_000, "x"));
  await delay(50);
  assert.equal(stream.input.readableLength, 1000);
  pair.client.socket.write(windowUpdate(stream.id, 200_000));
  let got = 0;
  stream.input.on("data", (chunk: Buffer) => {
    got += chunk.length;
  });
  await delay(50);
  // The session's window holds it now, which SETTINGS do not change.
  assert.equal(got, 65_536);
  pair.client.socket.write(windowUpdate(0, 200_000));
  await once(stream.input, "end");
  assert.equal(got, 100_000);
  stream.output.write(Buffer.alloc(70_000));
  await delay(50);
  const granted = (id: number): number =>
    pair.client.frames.reduce((sum, frame) => (frame.type === "window-update" && frame.streamId === id ? sum + frame.delta : sum), 0);
  assert.ok(granted(stream.id) >= 32 * 1024 && granted(stream.id) <= 70_000);
  assert.ok(granted(0) >= 32 * 1024 && granted(0) <= 70_000);
});

test("a client that does none is not held, and a full reader stops the connection's reading", async () => {
  await using pair = await Pair.make();
  pair.onStream = (stream) => void stream.input;
  const stream = await pair.client.open({});
  const { input, output } = await pair.stream(0);
  const got = text(stream.input);
  output.end(Buffer.alloc(500_000, "x"));
  assert.equal((await got).length, 500_000);
  let sent = 0;
  while (sent < 32 * 1024 * 1024 && stream.output.write(Buffer.alloc(65_536))) sent += 65_536;
  await delay(100);
  assert.ok(input.readableLength < 256 * 1024, `${input.readableLength} bytes are held`);
  let read = 0;
  input.on("data", (chunk: Buffer) => {
    read += chunk.length;
  });
  stream.output.end();
  await once(input, "end");
  assert.equal(read, sent + 65_536);
});

for (const [what, send, streams] of [
  ["more streams than allowed", async ({ client }: Pair) => void (await Promise.all(Array.from({ length: 9 }, () => client.open({})))), 8],
  ["data on a stream that was never opened", ({ client }: Pair) => void client.socket.write(dataHeader(5, 0)), 0],
  [
    "a stream number that goes back",
    async ({ client }: Pair) => void client.socket.write(synStream((await client.open({})).id, Buffer.alloc(0))),
    1,
  ],
  ["a header block that is none", ({ client }: Pair) => void client.socket.write(synStream(1, Buffer.from("garbage garbage"))), 0],
  [
    "a control frame that is too long",
    ({ client }: Pair) => void client.socket.write(Buffer.from([0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff])),
    0,
  ],
  ["another version", ({ client }: Pair) => void client.socket.write(Buffer.from([0x80, 2, 0, 1, 0, 0, 0, 10])), 0],
  ["HTTP", ({ client }: Pair) => void client.socket.write("GET / HTTP/1.1\r\n\r\n"), 0],
] as const) {
  test(`${what}: goodbye with PROTOCOL_ERROR`, async () => {
    await using pair = await Pair.make();
    let broken = 0;
    pair.onStream = (stream) => {
      stream.onBroken = () => broken++;
    };
    await send(pair);
    assert.equal(await pair.goodbye(), 1);
    assert.equal(broken, streams);
    await pair.connection.closed;
  });
}

test("a client that sends pings and reads nothing is not answered without end", async () => {
  await using pair = await Pair.make();
  pair.client.socket.pause();
  const pings = Buffer.concat(Array.from({ length: 50_000 }, () => ping(1)));
  let sent = 0;
  while (sent < 40 && pair.client.socket.write(pings)) sent++;
  const before = process.memoryUsage().arrayBuffers;
  await delay(300);
  assert.ok(process.memoryUsage().arrayBuffers - before < 32 * 1024 * 1024);
});
