import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { type Duplex, duplexPair } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { WebSocket, WebSocketServer } from "ws";
import { silentLogger } from "../base/log.ts";
import { Sessions } from "./sessions.ts";
import { dataHeader, FLAG_FIN, goAway, ping, reset, settingsInitialWindow, synStream, windowUpdate } from "./spdy/frames.ts";
import { HeaderCompressor, SpdyTestClient } from "./spdy/test-client.ts";
import { StreamTransport } from "./spdy/transport.ts";
import { StreamingServer } from "./streaming-server.ts";
import { LocalTargets } from "./test-execer.ts";

/** CRID_FUZZ_RUNS=100000 for the long run, of each kind; CRID_FUZZ_SEED repeats one. */
const runs = {
  numRuns: Number(process.env.CRID_FUZZ_RUNS ?? 1500),
  ...(process.env.CRID_FUZZ_SEED !== undefined && { seed: Number(process.env.CRID_FUZZ_SEED) }),
};

/** The bytes of whole conversations as clients have them after the upgrade, in frames. */
async function conversations(): Promise<Buffer[][]> {
  const frames = async (headers: Record<string, string>[], rest: Buffer[]): Promise<Buffer[]> => {
    const compressor = new HeaderCompressor();
    const opened: Buffer[] = [];
    for (const [index, block] of headers.entries()) opened.push(synStream(index * 2 + 1, await compressor.block(block)));
    compressor.close();
    return [...opened, ...rest];
  };
  const kinds = ["error", "stdin", "stdout", "stderr", "resize"].map((streamtype) => ({ streamtype }));
  const hello = [dataHeader(3, 5), Buffer.from("hello")];
  const exec = [
    dataHeader(9, 25),
    Buffer.from('{"Width":80,"Height":24}\n'),
    ping(1),
    ...hello,
    windowUpdate(3, 100),
    dataHeader(3, 0, FLAG_FIN),
  ];
  const pair = (id: string): Record<string, string>[] => ["error", "data"].map((streamtype) => ({ streamtype, port: "1", requestid: id }));
  return [
    await frames(kinds, exec),
    await frames(kinds, [settingsInitialWindow(10), ...hello, reset(3, 5), goAway(0, 0)]),
    await frames([...pair("0"), ...pair("1")], [...hello, dataHeader(3, 0, FLAG_FIN), reset(7, 5)]),
  ];
}

type Mutation = { kind: "flip" | "drop" | "repeat" | "insert" | "swap" | "cut"; at: number; value: number };

const mutation: fc.Arbitrary<Mutation> = fc.record({
  kind: fc.constantFrom("flip", "drop", "repeat", "insert", "swap", "cut"),
  at: fc.nat(),
  value: fc.integer({ min: 0, max: 255 }),
});

/** Some mutations are of bytes, some of whole frames. */
function mutate(frames: readonly Buffer[], mutations: readonly Mutation[]): Buffer {
  const list = frames.map((frame) => Buffer.from(frame));
  for (const { kind, at, value } of mutations) {
    const index = at % Math.max(1, list.length);
    const frame = list[index];
    if (frame === undefined) continue;
    if (kind === "flip" && frame.length > 0) frame[value % frame.length] = at & 0xff;
    else if (kind === "drop") list.splice(index, 1);
    else if (kind === "repeat") list.splice(index, 0, frame);
    else if (kind === "insert") list.splice(index, 0, Buffer.from([value, at & 0xff]));
    else if (kind === "swap") list.push(...list.splice(index, 1));
    else list[index] = frame.subarray(0, value % (frame.length + 1));
  }
  return Buffer.concat(list);
}

/** Answers with what it was sent; without a process, to be fast. */
class EchoTargets extends LocalTargets {
  override async exec(_id: string, options: Parameters<LocalTargets["exec"]>[1]): Promise<{ exitCode: number }> {
    if (options.resize !== undefined) void (async () => await Array.fromAsync(options.resize ?? []))();
    const said = options.stdin === undefined ? "" : await text(options.stdin);
    options.stdout?.end(said);
    return { exitCode: said.length % 256 };
  }
}

const exec = { kind: "exec", containerId: "c1", cmd: ["x"], stdin: true, stdout: true, stderr: true, tty: true } as const;
const forward = { kind: "port-forward", sandboxId: "p1", ports: [1] } as const;

function echoSessions(): Sessions {
  const dial = async (): Promise<never> => Promise.reject(new Error("connection refused"));
  return new Sessions({ execer: new EchoTargets(), dial, log: silentLogger() });
}

/** Sends the mutated bytes in pieces, then the end. */
function converse(far: Duplex, frames: readonly Buffer[], mutations: readonly Mutation[], cuts: readonly number[]): void {
  const bytes = mutate(frames, mutations);
  const at = [0, ...cuts.map((position) => position % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  for (const [index, end] of at.slice(1).entries()) if (!far.destroyed) far.write(bytes.subarray(at[index], end));
  far.end();
}

test("mutated SPDY conversations: every one comes to its end, and the next is served", async () => {
  const all = await conversations();
  const sessions = echoSessions();
  const requests = [exec, exec, forward] as const;
  const protocols = ["v4.channel.k8s.io", "channel.k8s.io", "portforward.k8s.io"];
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: 2 }),
      fc.array(mutation, { maxLength: 6 }),
      fc.array(fc.nat(), { maxLength: 4 }),
      async (which, mutations, cuts) => {
        const [near, far] = duplexPair() as [Duplex, Duplex];
        far.on("error", () => {}).resume();
        const served = sessions.overSpdy(requests[which] ?? exec, protocols[which] ?? "", new StreamTransport(near));
        converse(far, all[which] ?? [], mutations, cuts);
        await served;
        assert.equal(near.destroyed, true);
      },
    ),
    runs,
  );
});

/** A client's message, with a mask of zeros. */
function message(opcode: number, payload: Buffer): Buffer[] {
  const long = payload.length > 125;
  const header = Buffer.alloc(long ? 8 : 6);
  header[0] = 0x80 | opcode;
  header[1] = 0x80 | (long ? 126 : payload.length);
  if (long) header.writeUInt16BE(payload.length, 2);
  return [header, payload];
}

/** For each subprotocol what a client says on it. */
async function channelConversations(): Promise<[string, typeof exec | typeof forward, Buffer[]][]> {
  const [text, binary, close, ping] = [1, 2, 8, 9];
  const channels = (end: Buffer[]): Buffer[] => [
    ...message(binary, Buffer.from("\0hello")),
    ...message(binary, Buffer.from('\x04{"Width":80,"Height":24}')),
    ...message(ping, Buffer.from("p")),
    ...end,
    ...message(close, Buffer.from([3, 0xe8])),
  ];
  const base64 = [...message(text, Buffer.from("0aGVsbG8=")), ...message(text, Buffer.from("4eyJXaWR0aCI6MX0="))];
  const tunnelled = (await conversations())[2]?.flatMap((frame) => message(binary, frame)) ?? [];
  return [
    ["v5.channel.k8s.io", exec, channels(message(binary, Buffer.from([255, 0])))],
    ["v4.channel.k8s.io", exec, channels([])],
    ["base64.channel.k8s.io", exec, base64],
    ["v4.channel.k8s.io", forward, channels([])],
    ["SPDY/3.1+portforward.k8s.io", forward, tunnelled],
  ];
}

test("mutated WebSocket conversations: every one comes to its end, and the next is served", async () => {
  const all = await channelConversations();
  const sessions = echoSessions();
  const server = new WebSocketServer({ noServer: true, clientTracking: false, perMessageDeflate: false, ...{ closeTimeout: 20 } });
  const headers = { upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==" };
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: all.length - 1 }),
      fc.array(mutation, { maxLength: 6 }),
      fc.array(fc.nat(), { maxLength: 4 }),
      async (which, mutations, cuts) => {
        const [near, far] = duplexPair() as [Duplex, Duplex];
        far.on("error", () => {}).resume();
        near.on("error", () => {});
        const [protocol = "", request = exec, frames = []] = all[which] ?? [];
        const { promise, resolve } = Promise.withResolvers<WebSocket>();
        server.handleUpgrade({ method: "GET", headers, socket: near } as unknown as IncomingMessage, near, Buffer.alloc(0), resolve);
        const served = sessions.overWebSocket(request, protocol, await promise);
        converse(far, frames, mutations, cuts);
        await served;
        assert.equal(near.destroyed, true);
      },
    ),
    runs,
  );
});

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

function descriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

test("streams broken at random points leave no descriptor, timer or memory", async () => {
  const targets = new LocalTargets();
  const server = new StreamingServer({ address: "127.0.0.1", port: 0, idleTimeoutMs: 60_000, targets, log: silentLogger() });
  await server.listen();
  const request = { containerId: "c1", cmd: ["cat"], stdin: true, stdout: true, stderr: false, tty: false };
  const spdy = async (seed: number): Promise<void> => {
    const client = await SpdyTestClient.dial(server.exec(request), ["v4.channel.k8s.io"]);
    const kinds = ["error", "stdin", "stdout"];
    for (const streamtype of kinds.slice(0, seed % 4)) {
      const stream = await client.open({ streamtype });
      if (seed % 5 === 0) stream.output.write("some input");
    }
    if (seed % 3 === 0) await delay(seed % 7);
    client.close();
  };
  const channels = async (seed: number): Promise<void> => {
    const socket = new WebSocket(server.exec(request).replace("http:", "ws:"), "v5.channel.k8s.io");
    socket.on("error", () => {});
    await delay(seed % 4);
    if (socket.readyState === socket.OPEN) socket.send(Buffer.from("\0some input"));
    if (seed % 3 === 0) socket.close();
    else socket.terminate();
  };
  const chatter = createServer((socket) => {
    socket.on("error", () => {});
    socket.pipe(socket);
    socket.write(Buffer.alloc(300_000));
  });
  chatter.listen(0, "127.0.0.1");
  await once(chatter, "listening");
  const port = String((chatter.address() as AddressInfo).port);
  const forwarded = async (seed: number): Promise<void> => {
    const url = server.portForward({ sandboxId: "p1", ports: [] });
    const client = await SpdyTestClient.dial(url, ["portforward.k8s.io"]);
    for (const streamtype of ["error", "data"].slice(0, seed % 3)) {
      const stream = await client.open({ streamtype, port, requestid: "1" });
      if (streamtype === "data" && seed % 2 === 0) stream.output.write(Buffer.alloc(200_000));
    }
    if (seed % 5 !== 0) await delay(seed % 11);
    client.close();
  };
  const round = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, index) => [spdy, channels, forwarded][index % 3]?.(at + index)));
    }
    while (targets.running > 0) await delay(20);
    await delay(200);
    collect();
    collect();
  };
  const count = (): { fds: number; heap: number; timers: number } => ({
    fds: descriptors(),
    heap: process.memoryUsage().heapUsed,
    timers: process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length,
  });
  await round(100);
  const before = count();
  await round(Number(process.env.CRID_LEAK_STREAMS ?? 1000));
  const after = count();
  assert.ok(after.timers <= before.timers + 2, `${after.timers} timers, ${before.timers} before`);
  assert.ok(after.fds <= before.fds + 2, `${after.fds} descriptors, ${before.fds} before`);
  assert.ok(after.heap < before.heap + 3_000_000, `${after.heap} bytes, ${before.heap} before`);
  await server.close();
  chatter.close();
});
