import assert from "node:assert/strict";
import { createCipheriv, createHash } from "node:crypto";
import { once } from "node:events";
import { get } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { SpdyTestClient } from "../spdy/test-client.ts";
import { dialChannels, StreamingFixture } from "../test-fixture.ts";

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
    await using fixture = await StreamingFixture.make();
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

test("much through several connections of one client at once, both ways, byte for byte", async () => {
  await using fixture = await StreamingFixture.make();
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = String((server.address() as AddressInfo).port);
  const client = await SpdyTestClient.dial(fixture.server.portForward({ sandboxId: "p1", ports: [] }), ["portforward.k8s.io"]);
  const one = async (requestid: string): Promise<void> => {
    await client.open({ streamtype: "error", port, requestid });
    const data = await client.open({ streamtype: "data", port, requestid });
    const noise = createCipheriv("aes-128-ctr", Buffer.alloc(16, requestid), Buffer.alloc(16));
    const [sent, got] = [createHash("sha256"), createHash("sha256")];
    const sending = (async () => {
      for (let at = 0; at < 100; at++) {
        const block = noise.update(Buffer.alloc(100_003));
        sent.update(block);
        if (!data.output.write(block)) await once(data.output, "drain");
      }
      data.output.end();
    })();
    for await (const chunk of data.input as AsyncIterable<Buffer>) got.update(chunk);
    await sending;
    assert.equal(got.digest("hex"), sent.digest("hex"));
  };
  await Promise.all(["1", "2", "3"].map(one));
  client.close();
  server.close();
});

test("port-forward tunnelled through a WebSocket", async () => {
  await using fixture = await StreamingFixture.make();
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
  await using fixture = await StreamingFixture.make();
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
  await using fixture = await StreamingFixture.make();
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
