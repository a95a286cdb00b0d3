import assert from "node:assert/strict";
import { once } from "node:events";
import { join } from "node:path";
import { duplexPair } from "node:stream";
import { test } from "node:test";
import fc from "fast-check";
import { decodeResponse, encodeRequest } from "../src/codec.ts";
import { encodeHeader, type Frame, FrameReader, MAX_PAYLOAD } from "../src/frame.ts";
import { Client, ConnectionClosedError, Server } from "../src/index.ts";
import { service, temporaryDir, testServer, text, untext } from "./peer.ts";

/** A client that speaks frames, to break the rules with. */
function rawPeer(server: Server) {
  const [ours, theirs] = duplexPair();
  server.serve(theirs);
  const reader = new FrameReader();
  const frames: Frame[] = [];
  let wake: (() => void) | undefined;
  ours.on("data", (chunk: Buffer) => {
    frames.push(...reader.push(chunk));
    wake?.();
  });
  return {
    socket: ours,
    send(streamId: number, type: number, flags: number, payload: Uint8Array, length = payload.length): void {
      ours.write(Buffer.concat([encodeHeader(length, streamId, type, flags), payload]));
    },
    async next(): Promise<Frame> {
      while (frames.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      const frame = frames.shift();
      assert.ok(frame);
      return frame;
    },
    async status(): Promise<string> {
      const frame = await this.next();
      assert.equal(frame.type, 2);
      const { status } = decodeResponse(frame.payload);
      return `${frame.streamId} ${status?.code ?? 0} ${status?.message ?? ""}`;
    },
  };
}

function request(method: string, payload?: Uint8Array): Uint8Array {
  return encodeRequest({ service, method, timeoutNano: 0n, metadata: new Map(), ...(payload === undefined ? {} : { payload }) });
}

test("each breach of the protocol is answered, and the connection goes on", async () => {
  await using server = testServer();
  const peer = rawPeer(server);
  peer.send(2, 1, 0, request("Echo", text("x")));
  assert.equal(await peer.status(), "2 3 StreamID must be odd for client initiated streams");
  peer.send(5, 1, 0, request("Echo", text("x")));
  assert.equal(await peer.status(), "5 0 ");
  peer.send(3, 1, 0, request("Echo", text("x")));
  assert.equal(await peer.status(), "3 3 StreamID cannot be re-used and must increment");
  peer.send(7, 3, 0, text("x"));
  assert.equal(await peer.status(), "7 3 StreamID is no longer active");
  peer.send(9, 1, 0, Buffer.from([0x0a, 0xff]));
  assert.match(await peer.status(), /^9 3 malformed ttrpc message/);
  peer.send(11, 9, 0, text("a frame of a later protocol"));
  peer.send(11, 2, 0, text("a response to nobody"));
  peer.send(13, 1, 0, Buffer.alloc(MAX_PAYLOAD + 5));
  assert.match(await peer.status(), /^13 8 message length 4194309/);
  peer.send(15, 1, 0, request("Wait"));
  peer.send(15, 3, 0, text("data"));
  assert.equal(await peer.status(), "15 3 data on the stream of a unary call");
  peer.send(17, 1, 2, request("Join"));
  peer.send(17, 3, 1 | 4, new Uint8Array(0));
  assert.equal(await peer.status(), "17 0 ");
  peer.send(19, 1, 0, request("Echo", text("still here")));
  assert.equal(untext(decodeResponse((await peer.next()).payload).payload), "still here");
  peer.socket.destroy();
});

test("mutated frames never bring the server down", async () => {
  await using server = testServer();
  const good = Buffer.concat([
    encodeHeader(request("Echo", text("abc")).length, 1, 1, 0),
    request("Echo", text("abc")),
    encodeHeader(request("Join").length, 3, 1, 2),
    request("Join"),
    encodeHeader(3, 3, 3, 0),
    text("a"),
    encodeHeader(0, 3, 3, 5),
  ]);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 }), async (changes) => {
      const bytes = Buffer.from(good);
      for (const [at, value] of changes) bytes[at] = value;
      const [ours, theirs] = duplexPair();
      server.serve(theirs);
      ours.resume();
      ours.end(bytes);
      await once(ours, "close");
    }),
    { numRuns: 300 },
  );
  const [ours, theirs] = duplexPair();
  server.serve(theirs);
  const client = new Client(ours);
  assert.equal(untext(await client.call(service, "Echo", text("fine"))), "fine");
  client.close();
});

test("the caller's timeout and the end of its connection abort the handler", async () => {
  const reasons: string[] = [];
  await using server = new Server();
  server.register(service, {
    Hang: (_request, { signal }) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener("abort", () => {
          reasons.push(String(signal.reason.message));
          reject(signal.reason);
        }),
      ),
  });
  const [ours, theirs] = duplexPair();
  server.serve(theirs);
  const client = new Client(ours);
  await assert.rejects(client.call(service, "Hang", text(""), { timeoutMs: 20 }), { code: 4 });
  const hanging = client.call(service, "Hang", text(""));
  await new Promise((resolve) => setTimeout(resolve, 30));
  client.close();
  await assert.rejects(hanging, ConnectionClosedError);
  await server.close();
  assert.equal(reasons[0], "context deadline exceeded");
  assert.match(reasons[1] ?? "", /closed/);
});

test("close waits for calls, refuses new ones, then ends the connections", async () => {
  await using dir = await temporaryDir();
  const socket = join(dir.path, "s");
  const release = Promise.withResolvers<Uint8Array>();
  const server = new Server();
  server.register(service, { Slow: () => release.promise });
  await server.listen(socket);
  const client = await Client.connect(socket);
  const idle = await Client.connect(socket);
  const slow = client.call(service, "Slow", text(""));
  await new Promise((resolve) => setTimeout(resolve, 20));
  const closed = server.close();
  await idle.closed;
  await assert.rejects(client.call(service, "Slow", text("")), { code: 14, message: "the server is closing" });
  await assert.rejects(Client.connect(socket), { code: "ENOENT" });
  release.resolve(text("done"));
  assert.equal(untext(await slow), "done");
  await closed;
  await client.closed;
});

test("close by force ends a call that hangs", async () => {
  const server = testServer();
  const [ours, theirs] = duplexPair();
  server.serve(theirs);
  const client = new Client(ours);
  const hanging = client.call(service, "Wait", text(""));
  await new Promise((resolve) => setTimeout(resolve, 10));
  await Promise.all([assert.rejects(hanging, ConnectionClosedError), server.close({ signal: AbortSignal.timeout(20) })]);
});

test("a reader that is slow pauses the sender, and gets everything", async () => {
  await using dir = await temporaryDir();
  const socket = join(dir.path, "s");
  const server = new Server();
  let sent = 0;
  server.register(service, {
    Flood: {
      clientStreaming: false,
      serverStreaming: true,
      handle: async (stream) => {
        for (; sent < 64; sent++) await stream.send(Buffer.alloc(1 << 20, sent));
        return undefined;
      },
    },
  });
  await server.listen(socket);
  const client = await Client.connect(socket);
  const flood = client.stream(service, "Flood", { clientStreaming: false, serverStreaming: true, request: text("") });
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.ok(sent < 40, `${sent} MiB were sent to a reader that reads nothing`);
  let got = 0;
  for await (const message of flood) assert.equal(message[5], got++);
  assert.equal(got, 64);
  client.close();
  await server.close();
});

test("a canceled stream ends for both sides", async () => {
  const ended = Promise.withResolvers<string>();
  await using server = new Server();
  server.register(service, {
    Listen: {
      clientStreaming: true,
      serverStreaming: true,
      handle: async (stream) => {
        for await (const message of stream) await stream.send(message);
        ended.resolve("ended");
        return undefined;
      },
    },
  });
  const [ours, theirs] = duplexPair();
  server.serve(theirs);
  const client = new Client(ours);
  const controller = new AbortController();
  const stream = client.stream(service, "Listen", { clientStreaming: true, serverStreaming: true, signal: controller.signal });
  await stream.send(text("a"));
  assert.equal(untext((await stream.receive()) ?? text("")), "a");
  const waiting = stream.receive();
  controller.abort(new Error("enough"));
  await assert.rejects(waiting, { message: "enough" });
  assert.equal(await ended.promise, "ended");
  await assert.rejects(stream.send(text("b")), { code: 9 });
  assert.equal(client.pending, 0);
  client.close();
});

test("a peer that goes away in the middle of a frame fails the call", async () => {
  const [ours, theirs] = duplexPair();
  const client = new Client(ours);
  const call = client.call(service, "Echo", text(""));
  theirs.resume();
  theirs.write(encodeHeader(100, 1, 2, 0));
  theirs.end();
  await assert.rejects(call, /in the middle of a frame/);
});

test("connect says why it cannot", async () => {
  await using dir = await temporaryDir();
  await assert.rejects(Client.connect(join(dir.path, "none")), { code: "ENOENT" });
  await assert.rejects(Client.connect(join(dir.path, "none"), { signal: AbortSignal.abort(new Error("no time")) }), { message: "no time" });
});
