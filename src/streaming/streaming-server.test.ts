import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { SpdyTestClient } from "./spdy/test-client.ts";
import { dialChannels, openStreams, StreamingFixture, the } from "./test-fixture.ts";

const v4 = ["v4.channel.k8s.io"];
const success = { metadata: {}, status: "Success" };

test("exec over SPDY v4: all streams, the exit code on the error stream", async () => {
  await using fixture = await StreamingFixture.make();
  const url = fixture.exec(["sh", "-c", "cat; echo oops >&2; exit 7"], { stdin: true, stderr: true });
  const client = await SpdyTestClient.dial(url, ["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io"]);
  assert.equal(client.status, 101);
  assert.match(client.head, /X-Stream-Protocol-Version: v4\.channel\.k8s\.io\r\n/);
  const { error, stdin, stdout, stderr } = await openStreams(client, ["error", "stdin", "stdout", "stderr"]);
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
  await using fixture = await StreamingFixture.make();
  for (const protocol of ["v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"]) {
    for (const [script, expected] of [
      ["echo fine", /^$/],
      ["exit 3", /exit code 3$/],
    ] as const) {
      const client = await SpdyTestClient.dial(fixture.exec(["sh", "-c", script], { stdin: true }), [protocol]);
      const { error, stdin, stdout } = await openStreams(client, ["error", "stdin", "stdout"]);
      the(stdin).output.end();
      await text(the(stdout).input);
      assert.match(await text(the(error).input), expected);
      await client.closed();
    }
  }
});

test("a command that cannot be started is an internal error in the words of the reference", async () => {
  await using fixture = await StreamingFixture.make();
  const url = fixture.server.exec({ containerId: "gone", cmd: ["true"], stdin: false, stdout: true, stderr: false, tty: false });
  const client = await SpdyTestClient.dial(url, v4);
  const { error } = await openStreams(client, ["error", "stdout"]);
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
  await using fixture = await StreamingFixture.make();
  const { sizes } = fixture.targets;
  const client = await SpdyTestClient.dial(fixture.exec(["cat"], { tty: true, stdin: true }), v4);
  const { error, stdin, resize } = await openStreams(client, ["error", "stdin", "stdout", "resize"]);
  // One that nobody has taken yet makes room for the next: so one after the other.
  const taken = async (count: number): Promise<void> => {
    for (let tries = 0; sizes.length < count && tries < 400; tries++) await delay(25);
  };
  the(resize).output.write('{"Width":80,"Height":24}\n{"wid');
  await taken(1);
  the(resize).output.write('th":100,"height":50}');
  await taken(2);
  the(stdin).output.end();
  assert.deepEqual(JSON.parse(await text(the(error).input)), success);
  assert.deepEqual(sizes, ["80x24", "100x50"]);
});

test("large transfers cross both ways, byte for byte", async () => {
  await using fixture = await StreamingFixture.make();
  const mebibytes = 24;
  const block = randomBytes(1024 * 1024);
  const client = await SpdyTestClient.dial(fixture.exec(["cat"], { stdin: true }), v4);
  const { error, stdin, stdout } = await openStreams(client, ["error", "stdin", "stdout"]);
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
  await using fixture = await StreamingFixture.make();
  const before = process.memoryUsage().rss;
  const client = await SpdyTestClient.dial(fixture.exec(["sh", "-c", "head -c 300000000 /dev/zero"]), v4);
  const { error, stdout } = await openStreams(client, ["error", "stdout"]);
  await delay(500);
  assert.equal(fixture.targets.running, 1);
  assert.ok(process.memoryUsage().rss - before < 60 * 1024 * 1024, "output is held in memory");
  let got = 0;
  for await (const chunk of the(stdout).input as AsyncIterable<Buffer>) got += chunk.length;
  assert.equal(got, 300_000_000);
  assert.deepEqual(JSON.parse(await text(the(error).input)), success);
});

test("the client goes away: the command goes with it, with or without a terminal", async () => {
  await using fixture = await StreamingFixture.make();
  const cat = await SpdyTestClient.dial(fixture.exec(["cat"], { stdin: true }), v4);
  await openStreams(cat, ["error", "stdin", "stdout"]);
  const tty = await SpdyTestClient.dial(fixture.exec(["sleep", "60"], { tty: true }), v4);
  await openStreams(tty, ["error", "stdout", "resize"]);
  const plain = await SpdyTestClient.dial(fixture.exec(["sleep", "60"]), v4);
  await openStreams(plain, ["error", "stdout"]);
  while (fixture.targets.running < 3) await delay(10);
  for (const client of [cat, tty, plain]) client.close();
  for (let tries = 0; fixture.targets.running > 0 && tries < 100; tries++) await delay(20);
  assert.equal(fixture.targets.running, 0);
});

test("a token is good once, for its own path, and the rest gets 404 without detail", async () => {
  await using fixture = await StreamingFixture.make();
  const url = fixture.exec(["true"]);
  const used = await SpdyTestClient.dial(url, v4);
  await openStreams(used, ["error", "stdout"]);
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
  await using fixture = await StreamingFixture.make();
  for (let index = 0; index < 1000; index++) fixture.exec(["true"]);
  assert.throws(() => fixture.exec(["true"]), /1000 streaming URLs/);
});

test("bad handshakes: 400 and 403 with the list", async () => {
  await using fixture = await StreamingFixture.make();
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

test("exec over WebSocket v5: half-close of stdin, normal closure at the end", async () => {
  await using fixture = await StreamingFixture.make();
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
  await using fixture = await StreamingFixture.make();
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
  await using fixture = await StreamingFixture.make();
  const request = { containerId: "c1", stdin: true, stdout: true, stderr: false, tty: false };
  const client = await SpdyTestClient.dial(fixture.server.attach(request), v4);
  const { error, stdin, stdout } = await openStreams(client, ["error", "stdin", "stdout"]);
  the(stdin).output.end("typed");
  assert.equal(await text(the(stdout).input), "attached\ntyped");
  assert.deepEqual(JSON.parse(await text(the(error).input)), success);
  const { socket, bytes, closed } = await dialChannels(fixture.server.attach(request), "v5.channel.k8s.io");
  socket.send(Buffer.from("\0typed"));
  socket.send(Buffer.from([255, 0]));
  assert.equal(await closed, 1000);
  assert.equal(bytes[1], "attached\ntyped");
});

test("idle connections are closed", async () => {
  await using fixture = await StreamingFixture.make(200);
  const client = await SpdyTestClient.dial(fixture.exec(["cat"], { stdin: true }), v4);
  await openStreams(client, ["error", "stdin", "stdout"]);
  await client.closed();
  const { closed } = await dialChannels(fixture.exec(["cat"], { stdin: true }), "v5.channel.k8s.io");
  await closed;
});

test("a connection on which only output goes is not idle", async () => {
  await using fixture = await StreamingFixture.make(250);
  const lines = "for i in 1 2 3 4 5 6 7 8 9 10; do echo $i; sleep 0.1; done";
  const client = await SpdyTestClient.dial(fixture.exec(["sh", "-c", lines]), v4);
  const { error, stdout } = await openStreams(client, ["error", "stdout"]);
  assert.equal(await text(the(stdout).input), "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
  assert.deepEqual(JSON.parse(await text(the(error).input)), success);
});

test("more open streams than allowed: 503, until some have ended", async () => {
  await using fixture = await StreamingFixture.make(60_000, { maxConnections: 2 });
  const dial = (): Promise<SpdyTestClient> => SpdyTestClient.dial(fixture.exec(["cat"], { stdin: true }), v4);
  const first = await dial();
  await dialChannels(fixture.exec(["cat"], { stdin: true }), "v5.channel.k8s.io");
  const refused = await dial();
  assert.equal(refused.status, 503);
  await refused.closed();
  first.close();
  await delay(100);
  assert.equal((await dial()).status, 101);
});
