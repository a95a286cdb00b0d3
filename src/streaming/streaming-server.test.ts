import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { get } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { silentLogger } from "../base/log.ts";
import { SpdyTestClient, type TestStream } from "./spdy/test-client.ts";
import { StreamingServer } from "./streaming-server.ts";
import { LocalTargets } from "./test-execer.ts";

class Fixture implements AsyncDisposable {
  readonly targets = new LocalTargets();
  readonly server: StreamingServer;

  constructor(idleTimeoutMs = 60_000) {
    this.server = new StreamingServer({ address: "127.0.0.1", port: 0, idleTimeoutMs, targets: this.targets, log: silentLogger() });
  }

  static async make(idleTimeoutMs?: number): Promise<Fixture> {
    const fixture = new Fixture(idleTimeoutMs);
    await fixture.server.listen();
    return fixture;
  }

  exec(cmd: string[], wanted: { stdin?: boolean; stdout?: boolean; stderr?: boolean; tty?: boolean } = {}): string {
    const { stdin = false, stdout = true, stderr = false, tty = false } = wanted;
    return this.server.exec({ containerId: "c1", cmd, stdin, stdout, stderr, tty });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
  }
}

async function open(client: SpdyTestClient, kinds: string[]): Promise<Record<string, TestStream>> {
  const streams: Record<string, TestStream> = {};
  for (const kind of kinds) streams[kind] = await client.open({ streamtype: kind });
  return streams;
}

function the<T>(value: T | undefined): T {
  assert.ok(value !== undefined);
  return value;
}

const v4 = ["v4.channel.k8s.io"];
const success = { metadata: {}, status: "Success" };

test("exec over SPDY v4: all streams, the exit code on the error stream", async () => {
  await using fixture = await Fixture.make();
  const url = fixture.exec(["sh", "-c", "cat; echo oops >&2; exit 7"], { stdin: true, stderr: true });
  const client = await SpdyTestClient.dial(url, ["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io"]);
  assert.equal(client.status, 101);
  assert.match(client.head, /X-Stream-Protocol-Version: v4\.channel\.k8s\.io\r\n/);
  const { error, stdin, stdout, stderr } = await open(client, ["error", "stdin", "stdout", "stderr"]);
  the(stdin).output.end("hello\n");
  assert.equal(await text(the(stdout).input), "hello\n");
  assert.equal(await text(the(stderr).input), "oops\n");
  const status = JSON.parse(await text(the(error).input));
  assert.equal(status.reason, "NonZeroExitCode");
  assert.deepEqual(status.details, { causes: [{ reason: "ExitCode", message: "7" }] });
  await client.closed();
  assert.ok(client.frames.some(({ type }) => type === "goaway"));
});

test("exec over SPDY v3, v2, v1: plain text, and only for a failure", async () => {
  await using fixture = await Fixture.make();
  for (const protocol of ["v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"]) {
    for (const [script, expected] of [
      ["echo fine", /^$/],
      ["exit 3", /exit code 3$/],
    ] as const) {
      const client = await SpdyTestClient.dial(fixture.exec(["sh", "-c", script], { stdin: true }), [protocol]);
      const { error, stdin, stdout } = await open(client, ["error", "stdin", "stdout"]);
      the(stdin).output.end();
      await text(the(stdout).input);
      assert.match(await text(the(error).input), expected);
      await client.closed();
    }
  }
});

test("a command that cannot be started is an internal error in the words of the reference", async () => {
  await using fixture = await Fixture.make();
  const url = fixture.server.exec({ containerId: "gone", cmd: ["true"], stdin: false, stdout: true, stderr: false, tty: false });
  const client = await SpdyTestClient.dial(url, v4);
  const { error } = await open(client, ["error", "stdout"]);
  const status = JSON.parse(await text(the(error).input));
  assert.deepEqual(status, {
    metadata: {},
    status: "Failure",
    message: "Internal error occurred: error executing command in container: container gone: not found",
    reason: "InternalError",
    code: 500,
  });
});

test("terminal sizes, whole, in pieces and in any case", async () => {
  await using fixture = await Fixture.make();
  const client = await SpdyTestClient.dial(fixture.exec(["sleep", "0.3"], { tty: true }), v4);
  const { error, resize } = await open(client, ["error", "stdout", "resize"]);
  the(resize).output.write('{"Width":80,"Height":24}\n{"wid');
  await delay(50);
  the(resize).output.write('th":100,"height":50}');
  assert.deepEqual(JSON.parse(await text(the(error).input)), success);
  assert.deepEqual(fixture.targets.sizes, ["80x24", "100x50"]);
});

test("large transfers cross both ways, byte for byte", async () => {
  await using fixture = await Fixture.make();
  const mebibytes = 24;
  const block = randomBytes(1024 * 1024);
  const client = await SpdyTestClient.dial(fixture.exec(["cat"], { stdin: true }), v4);
  const { error, stdin, stdout } = await open(client, ["error", "stdin", "stdout"]);
  const sent = (async () => {
    for (let at = 0; at < mebibytes; at++) if (!the(stdin).output.write(block)) await once(the(stdin).output, "drain");
    the(stdin).output.end();
  })();
  let got = 0;
  for await (const chunk of the(stdout).input as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length; ) {
      const from = (got + at) % block.length;
      const length = Math.min(chunk.length - at, block.length - from);
      assert.ok(chunk.subarray(at, at + length).equals(block.subarray(from, from + length)), `other bytes at ${got + at}`);
      at += length;
    }
    got += chunk.length;
  }
  await sent;
  assert.equal(got, mebibytes * block.length);
  assert.deepEqual(JSON.parse(await text(the(error).input)), success);
});

test("a reader that is slow holds the process, not memory", async () => {
  await using fixture = await Fixture.make();
  const before = process.memoryUsage().rss;
  const client = await SpdyTestClient.dial(fixture.exec(["sh", "-c", "head -c 300000000 /dev/zero"]), v4);
  const { error, stdout } = await open(client, ["error", "stdout"]);
  await delay(500);
  assert.equal(fixture.targets.running, 1);
  assert.ok(process.memoryUsage().rss - before < 60 * 1024 * 1024, "output is held in memory");
  let got = 0;
  for await (const chunk of the(stdout).input as AsyncIterable<Buffer>) got += chunk.length;
  assert.equal(got, 300_000_000);
  assert.deepEqual(JSON.parse(await text(the(error).input)), success);
});

test("the client goes away: stdin ends, a terminal is hung up, a command without one runs on", async () => {
  await using fixture = await Fixture.make();
  const cat = await SpdyTestClient.dial(fixture.exec(["cat"], { stdin: true }), v4);
  await open(cat, ["error", "stdin", "stdout"]);
  const tty = await SpdyTestClient.dial(fixture.exec(["sleep", "60"], { tty: true }), v4);
  await open(tty, ["error", "stdout", "resize"]);
  const plain = await SpdyTestClient.dial(fixture.exec(["sh", "-c", "sleep 0.7; head -c 1000000 /dev/zero"]), v4);
  await open(plain, ["error", "stdout"]);
  while (fixture.targets.running < 3) await delay(10);
  for (const client of [cat, tty, plain]) client.close();
  await delay(300);
  assert.equal(fixture.targets.running, 1);
  await delay(700);
  assert.equal(fixture.targets.running, 0);
});

test("a token is good once, for its own path, and the rest gets 404 without detail", async () => {
  await using fixture = await Fixture.make();
  const url = fixture.exec(["true"]);
  const used = await SpdyTestClient.dial(url, v4);
  await open(used, ["error", "stdout"]);
  await used.closed();
  const wrong = fixture.exec(["true"]).replace("/exec/", "/attach/");
  for (const bad of [url, wrong, wrong.replace("/attach/", "/exec/"), `${fixture.server.url}/exec/nothing`, `${fixture.server.url}/`]) {
    const client = await SpdyTestClient.dial(bad, v4);
    assert.equal(client.status, 404, bad);
    await client.closed();
    assert.ok(client.head.endsWith("\r\n\r\n404 page not found\n"));
    const plain = await fetch(bad);
    assert.equal(plain.status, 404);
    assert.equal(await plain.text(), "404 page not found\n");
  }
  const put = await SpdyTestClient.dial(fixture.exec(["true"]), v4, { method: "PUT" });
  assert.equal(put.status, 404);
});

test("at most 1000 tokens wait", async () => {
  await using fixture = await Fixture.make();
  for (let index = 0; index < 1000; index++) fixture.exec(["true"]);
  assert.throws(() => fixture.exec(["true"]), /1000 streaming URLs/);
});

test("bad handshakes: 400 and 403 with the list", async () => {
  await using fixture = await Fixture.make();
  const none = await SpdyTestClient.dial(fixture.exec(["true"]), []);
  assert.equal(none.status, 400);
  const unknown = await SpdyTestClient.dial(fixture.exec(["true"]), ["v9.channel.k8s.io"]);
  assert.equal(unknown.status, 403);
  assert.match(unknown.head, /X-Accepted-Stream-Protocol-Versions: v4\.channel\.k8s\.io\r\n/);
  const plain = await fetch(fixture.exec(["true"]));
  assert.equal(plain.status, 400);
  assert.match(await plain.text(), /missing upgrade headers/);
  const socket = new WebSocket(fixture.exec(["true"]).replace("http:", "ws:"), ["v9.channel.k8s.io"]);
  const [, response] = (await once(socket, "unexpected-response")) as [unknown, { statusCode: number; headers: Record<string, string> }];
  assert.equal(response.statusCode, 403);
  assert.match(response.headers["x-accepted-stream-protocol-versions"] ?? "", /v5\.channel\.k8s\.io/);
  socket.on("error", () => {});
  socket.terminate();
});

interface Channels {
  socket: WebSocket;
  bytes: Record<number, string>;
  closed: Promise<number>;
}

async function dialChannels(url: string, protocol: string | undefined, base64 = false): Promise<Channels> {
  const socket = new WebSocket(url.replace("http:", "ws:"), protocol);
  const bytes: Record<number, string> = {};
  socket.on("message", (data: Buffer) => {
    const channel = base64 ? Number(data.toString("latin1", 0, 1)) : (data[0] ?? 0);
    const payload = base64 ? Buffer.from(data.toString("latin1", 1), "base64").toString("latin1") : data.toString("latin1", 1);
    bytes[channel] = (bytes[channel] ?? "") + payload;
  });
  const closed = once(socket, "close").then(([code]) => code as number);
  await once(socket, "open");
  return { socket, bytes, closed };
}

test("exec over WebSocket v5: half-close of stdin, normal closure at the end", async () => {
  await using fixture = await Fixture.make();
  const url = fixture.exec(["sh", "-c", "cat; echo oops >&2; exit 4"], { stdin: true, stderr: true });
  const { socket, bytes, closed } = await dialChannels(url, "v5.channel.k8s.io");
  socket.send(Buffer.from("\0hello"));
  socket.send(Buffer.from([255, 0]));
  assert.equal(await closed, 1000);
  assert.equal(bytes[1], "hello");
  assert.equal(bytes[2], "oops\n");
  assert.equal(JSON.parse(bytes[3] ?? "").details.causes[0].message, "4");
});

test("exec over WebSocket v4, base64 and no subprotocol", async () => {
  await using fixture = await Fixture.make();
  for (const [protocol, base64, json] of [
    ["v4.channel.k8s.io", false, true],
    ["v4.base64.channel.k8s.io", true, true],
    ["base64.channel.k8s.io", true, false],
    ["channel.k8s.io", false, false],
    [undefined, false, false],
  ] as const) {
    const { bytes, closed } = await dialChannels(fixture.exec(["sh", "-c", "echo out; exit 2"]), protocol, base64);
    assert.equal(await closed, 1000);
    assert.equal(bytes[1], "out\n", String(protocol));
    if (json) assert.equal(JSON.parse(bytes[3] ?? "").details.causes[0].message, "2");
    else assert.match(bytes[3] ?? "", /exit code 2$/);
  }
});

test("attach over SPDY and WebSocket", async () => {
  await using fixture = await Fixture.make();
  const request = { containerId: "c1", stdin: true, stdout: true, stderr: false, tty: false };
  const client = await SpdyTestClient.dial(fixture.server.attach(request), v4);
  const { error, stdin, stdout } = await open(client, ["error", "stdin", "stdout"]);
  the(stdin).output.end("typed");
  assert.equal(await text(the(stdout).input), "attached\ntyped");
  assert.deepEqual(JSON.parse(await text(the(error).input)), success);
  const { socket, bytes, closed } = await dialChannels(fixture.server.attach(request), "v5.channel.k8s.io");
  socket.send(Buffer.from("\0typed"));
  socket.send(Buffer.from([255, 0]));
  assert.equal(await closed, 1000);
  assert.equal(bytes[1], "attached\ntyped");
});

/** The client's side of a tunnel. By hand, as no npm client takes a subprotocol with a slash, which Kubernetes' has. */
class TunnelSocket extends Duplex {
  readonly #socket: Socket;
  #rest: Buffer;

  private constructor(socket: Socket, head: Buffer) {
    super();
    this.#socket = socket;
    this.#rest = head;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("close", () => this.push(null));
  }

  static async dial(url: string): Promise<TunnelSocket> {
    const request = get(url, {
      headers: {
        Connection: "Upgrade",
        Upgrade: "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Protocol": "SPDY/3.1+portforward.k8s.io",
      },
    });
    const [response, socket, head] = (await once(request, "upgrade")) as [{ headers: Record<string, string> }, Socket, Buffer];
    assert.equal(response.headers["sec-websocket-protocol"], "SPDY/3.1+portforward.k8s.io");
    return new TunnelSocket(socket, head);
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    // FIN and binary; masked, with a mask of zeros.
    const header = Buffer.from([0x82, 0xfe, 0, 0, 0, 0, 0, 0]);
    header.writeUInt16BE(chunk.length, 2);
    this.#socket.write(Buffer.concat([header, chunk]), done);
  }

  override _destroy(_error: Error | null, done: () => void): void {
    this.#socket.destroy();
    done();
  }

  #take(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const short = (this.#rest[1] ?? 0) & 0x7f;
      assert.ok(short < 127);
      const start = short < 126 ? 2 : 4;
      if (this.#rest.length < start) return;
      const end = start + (short < 126 ? short : this.#rest.readUInt16BE(2));
      if (this.#rest.length < end) return;
      this.push(this.#rest.subarray(start, end));
      this.#rest = this.#rest.subarray(end);
    }
  }
}

/** Answers what it was sent, in capitals, once the client has closed its side. */
async function shouter(host: string): Promise<{ port: number; server: Server }> {
  const server = createServer({ allowHalfOpen: true }, (socket: Socket) => {
    let said = "";
    socket.on("data", (chunk: Buffer) => {
      said += chunk.toString("latin1");
    });
    socket.on("end", () => socket.end(said.toUpperCase()));
  });
  server.listen(0, host);
  await once(server, "listening");
  return { port: (server.address() as AddressInfo).port, server };
}

for (const host of ["127.0.0.1", "::1"]) {
  test(`port-forward over SPDY to ${host}: many connections at once, half-close, errors`, async () => {
    await using fixture = await Fixture.make();
    const { port, server } = await shouter(host);
    const client = await SpdyTestClient.dial(fixture.server.portForward({ sandboxId: "p1", ports: [] }), ["portforward.k8s.io"]);
    const one = async (index: number): Promise<void> => {
      const headers = { port: String(port), requestid: String(index) };
      const error = await client.open({ ...headers, streamtype: "error" });
      const data = await client.open({ ...headers, streamtype: "data" });
      error.output.end();
      data.output.end(`hello ${index}`);
      assert.equal(await text(data.input), `HELLO ${index}`);
      assert.equal(await text(error.input), "");
    };
    for (let round = 0; round < 5; round++) await Promise.all(Array.from({ length: 10 }, (_, index) => one(round * 10 + index)));
    server.close();
    const headers = { port: String(port), requestid: "refused" };
    const error = await client.open({ ...headers, streamtype: "error" });
    const data = await client.open({ ...headers, streamtype: "data" });
    assert.match(
      await text(error.input),
      new RegExp(`^error forwarding port ${port} to pod p1, uid : .*IPv4: dial tcp4 127.0.0.1:${port}: connect: connection refused IPv6`),
    );
    await text(data.input);
    assert.ok(data.resetStatus > 0);
    client.close();
  });
}

test("port-forward tunnelled through a WebSocket", async () => {
  await using fixture = await Fixture.make();
  const { port, server } = await shouter("127.0.0.1");
  const url = fixture.server.portForward({ sandboxId: "p1", ports: [] });
  const tunnel = await TunnelSocket.dial(url);
  const client = SpdyTestClient.over(tunnel);
  for (const requestid of ["1", "2"]) {
    await client.open({ streamtype: "error", port: String(port), requestid });
    const data = await client.open({ streamtype: "data", port: String(port), requestid });
    data.output.end(`hello ${requestid}`);
    assert.equal(await text(data.input), `HELLO ${requestid}`);
  }
  client.close();
  server.close();
});

test("port-forward streams without request id are paired by number, bad ones reset", async () => {
  await using fixture = await Fixture.make();
  const { port, server } = await shouter("127.0.0.1");
  const client = await SpdyTestClient.dial(fixture.server.portForward({ sandboxId: "p1", ports: [] }), ["portforward.k8s.io"]);
  await client.open({ streamtype: "error", port: String(port) });
  const data = await client.open({ streamtype: "data", port: String(port) });
  data.output.end("old");
  assert.equal(await text(data.input), "OLD");
  for (const headers of [
    { streamtype: "data" },
    { streamtype: "data", port: "70000" },
    { port: "80" },
    { streamtype: "stdin", port: "80" },
  ]) {
    const bad = await client.open(headers);
    await text(bad.input);
    assert.equal(bad.resetStatus, 1);
  }
  client.close();
  server.close();
});

test("port-forward over WebSocket channels names each port first", async () => {
  await using fixture = await Fixture.make();
  const server = createServer((socket) => socket.end("banner"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const { bytes, closed } = await dialChannels(fixture.server.portForward({ sandboxId: "p1", ports: [port, 1] }), "v4.channel.k8s.io");
  assert.equal(await closed, 1000);
  const name = String.fromCharCode(port & 0xff, port >> 8);
  assert.equal(bytes[0], `${name}banner`);
  assert.equal(bytes[1], name);
  const one = String.fromCharCode(1, 0);
  assert.equal(bytes[2], one);
  assert.ok(bytes[3]?.startsWith(`${one}error forwarding port 1 to pod p1`));
  server.close();
});

test("idle connections are closed", async () => {
  await using fixture = await Fixture.make(200);
  const client = await SpdyTestClient.dial(fixture.exec(["cat"], { stdin: true }), v4);
  await open(client, ["error", "stdin", "stdout"]);
  await client.closed();
});
