import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { Client, ConnectionClosedError, TtrpcError } from "../src/index.ts";
import { buildGoPeer, service, temporaryDir, testServer, text, untext } from "./peer.ts";

const dir = await temporaryDir();
const peer = await buildGoPeer(dir.path);
after(() => dir[Symbol.asyncDispose]());

describe("against Go's ttrpc", { skip: peer === undefined ? "no Go here" : false }, () => {
  test("Go's client, our server", async () => {
    const socket = join(dir.path, "ours.sock");
    await using server = testServer();
    await server.listen(socket);
    const { stdout } = await promisify(execFile)(peer ?? "", ["client", socket], { maxBuffer: 1 << 20 });
    const { deadline, ...results } = JSON.parse(stdout) as Record<string, string>;
    // Go's client notices the deadline itself, or gets our answer first.
    assert.match(deadline ?? "", /^(error|Unknown|DeadlineExceeded) context deadline exceeded$/);
    assert.deepEqual(results, {
      echo: "hello",
      empty: "",
      context: "key=a|b false",
      fail: "NotFound no such thing",
      plain: "Unknown plain words",
      nomethod: "Unimplemented method Nope",
      big: "4194000",
      toobig: "ResourceExhausted message length 4194314 exceeds the limit of 4194304 bytes",
      parallel: "ok",
      join: "a+b+c",
      count: "0,1,2,3",
      upper: "X,Y",
      broken: "first,DataLoss broke",
      after: "still here",
    });
  });

  describe("our client, Go's server", () => {
    const socket = join(dir.path, "theirs.sock");
    const child = spawn(peer ?? "true", ["server", socket], { stdio: ["pipe", "pipe", "inherit"] });
    let client: Client;

    before(async () => {
      await once(child.stdout, "data");
      client = await Client.connect(socket);
    });
    after(async () => {
      client.close();
      child.stdin.end();
      if (child.exitCode === null) await once(child, "exit");
    });

    const ask = async (method: string, argument: string, options = {}): Promise<string> =>
      untext(await client.call(service, method, text(argument), options));

    test("unary calls, alone and many at a time", async () => {
      assert.equal(await ask("Echo", "hello"), "hello");
      assert.equal(await ask("Echo", ""), "");
      const all = Array.from({ length: 200 }, (_, i) => String(i).repeat(i * 20));
      assert.deepEqual(await Promise.all(all.map((argument) => ask("Echo", argument))), all);
      assert.equal(client.pending, 0);
    });

    test("metadata and the timeout arrive", async () => {
      const answer = await ask("Context", "", { metadata: new Map([["key", ["a", "b"]]]), timeoutMs: 20_000 });
      const [metadata, left] = answer.split(" ");
      assert.equal(metadata, "key=a|b");
      assert.ok(Number(left) > 15_000 && Number(left) <= 20_000, answer);
      assert.equal(await ask("Context", ""), " none");
    });

    test("statuses keep their code, message and details", async () => {
      await assert.rejects(ask("Fail", "no such thing"), (error) => {
        assert.ok(error instanceof TtrpcError);
        assert.equal(error.code, 5);
        assert.equal(error.message, "no such thing");
        assert.equal(error.details[0]?.typeUrl, "type.googleapis.com/google.protobuf.StringValue");
        assert.equal(untext(error.details[0]?.value ?? text("")), "detail");
        return true;
      });
      await assert.rejects(ask("Plain", "words"), { code: 2, message: "words" });
      await assert.rejects(ask("Nope", ""), { code: 12, message: "method Nope" });
      await assert.rejects(client.call("no.Service", "X", text("")), { code: 12, message: "service no.Service" });
    });

    test("big messages, and too big ones", async () => {
      assert.equal((await ask("Big", "4194000")).length, 4194000);
      await assert.rejects(ask("Echo", "x".repeat(4 << 20)), { code: 8 });
      assert.equal(await ask("Echo", "still here"), "still here");
    });

    test("a timeout and an abort end a call, not the connection", async () => {
      await assert.rejects(ask("Wait", "", { timeoutMs: 30 }), { code: 4 });
      const controller = new AbortController();
      const waiting = ask("Wait", "", { signal: controller.signal, timeoutMs: 1000 });
      setTimeout(() => controller.abort(new Error("enough")), 20);
      await assert.rejects(waiting, { message: "enough" });
      assert.equal(await ask("Echo", "still here"), "still here");
    });

    test("streams in each direction", async () => {
      const join = client.stream(service, "Join", { clientStreaming: true, serverStreaming: false });
      for (const part of ["a", "b", "c"]) await join.send(text(part));
      join.closeSend();
      assert.equal(untext((await join.receive()) ?? text("none")), "a+b+c");
      assert.equal(await join.receive(), undefined);

      const count = client.stream(service, "Count", { clientStreaming: false, serverStreaming: true, request: text("300") });
      const counted: string[] = [];
      for await (const message of count) counted.push(untext(message));
      assert.deepEqual(
        counted,
        Array.from({ length: 300 }, (_, i) => String(i)),
      );

      const upper = client.stream(service, "Upper", { clientStreaming: true, serverStreaming: true });
      for (const part of ["a", "", "c"]) {
        await upper.send(text(part));
        assert.equal(untext((await upper.receive()) ?? text("none")), part.toUpperCase());
      }
      upper.closeSend();
      assert.equal(await upper.receive(), undefined);

      const broken = client.stream(service, "Broken", { clientStreaming: true, serverStreaming: true });
      assert.equal(untext((await broken.receive()) ?? text("none")), "first");
      await assert.rejects(broken.receive(), { code: 15, message: "broke" });
      assert.equal(client.pending, 0);
    });

    test("the end of the server fails the calls under way", async () => {
      const waiting = ask("Wait", "");
      child.kill("SIGKILL");
      await assert.rejects(
        waiting,
        (error) => error instanceof ConnectionClosedError && /Peer\/Wait: .*closed by the peer/.test(error.message),
      );
      await client.closed;
      await assert.rejects(ask("Echo", ""), { code: 14 });
    });
  });
});
