import assert from "node:assert/strict";
import { randomBytes, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { connect, type TLSSocket } from "node:tls";
import { WebSocket } from "ws";
import { silentLogger } from "../base/log.ts";
import { selfSigned } from "./self-signed.ts";
import { SpdyTestClient } from "./spdy/test-client.ts";
import { StreamingServer } from "./streaming-server.ts";
import { LocalTargets } from "./test-execer.ts";

type Tls = NonNullable<ConstructorParameters<typeof StreamingServer>[0]["tls"]>;

async function serve(tls: Tls, address = "127.0.0.1"): Promise<StreamingServer> {
  const targets = new LocalTargets();
  const server = new StreamingServer({ address, port: 0, idleTimeoutMs: 60_000, tls, targets, log: silentLogger(), tlsCheckMs: 20 });
  await server.listen();
  return server;
}

async function dial(server: StreamingServer, client: { cert?: Buffer; key?: Buffer } = {}): Promise<TLSSocket> {
  const { hostname, port } = new URL(server.url);
  const host = hostname.replace(/[[\]]/g, "");
  const socket = connect({ host, port: Number(port), rejectUnauthorized: false, ...client });
  // With TLS 1.3 a refused client learns it only after its own handshake.
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  return socket;
}

async function served(server: StreamingServer): Promise<X509Certificate> {
  const socket = await dial(server);
  const certificate = socket.getPeerX509Certificate();
  socket.destroy();
  assert.ok(certificate !== undefined);
  return certificate;
}

for (const host of ["127.0.0.1", "::1", "2001:db8::1:0:7", "node.example"]) {
  test(`a self-signed certificate for ${host} is one by OpenSSL's account`, () => {
    const { cert } = selfSigned(host, { days: 10 });
    const certificate = new X509Certificate(cert);
    assert.ok(certificate.verify(certificate.publicKey));
    assert.ok(host.includes("example") ? certificate.checkHost(host) : certificate.checkIP(host));
    assert.equal(certificate.checkIP("10.0.0.1"), undefined);
    assert.ok(new Date(certificate.validTo) > new Date(Date.now() + 9 * 86_400_000));
  });
}

test("without files the server makes a certificate of its own", async () => {
  for (const address of ["127.0.0.1", "::1"]) {
    const server = await serve({}, address);
    assert.match(server.url, /^https:/);
    assert.ok((await served(server)).checkIP(address));
    const url = server.exec({ containerId: "c1", cmd: ["true"], stdin: false, stdout: true, stderr: false, tty: false });
    const socket = await dial(server);
    socket.write(`POST ${new URL(url).pathname} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n`);
    socket.write("X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n");
    const [answer] = (await once(socket, "data")) as [Buffer];
    assert.match(answer.toString("latin1"), /^HTTP\/1\.1 101 /);
    socket.destroy();
    await server.close();
  }
});

test("an exec over TLS: SPDY and WebSocket, byte for byte", async () => {
  const server = await serve({});
  const request = { containerId: "c1", cmd: ["cat"], stdin: true, stdout: true, stderr: false, tty: false };
  const said = randomBytes(3_000_000);
  const socket = await dial(server);
  socket.write(`POST ${new URL(server.exec(request)).pathname} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n`);
  socket.write("X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n");
  await once(socket, "data");
  const client = SpdyTestClient.over(socket);
  const error = await client.open({ streamtype: "error" });
  const stdin = await client.open({ streamtype: "stdin" });
  const stdout = await client.open({ streamtype: "stdout" });
  stdin.output.end(said);
  assert.ok((await buffer(stdout.input)).equals(said));
  assert.match(await text(error.input), /"Success"/);
  client.close();

  const webSocket = new WebSocket(server.exec(request).replace("https:", "wss:"), "v5.channel.k8s.io", { rejectUnauthorized: false });
  const got: Buffer[] = [];
  webSocket.on("message", (data: Buffer) => {
    if (data[0] === 1) got.push(data.subarray(1));
  });
  await once(webSocket, "open");
  webSocket.send(Buffer.concat([Buffer.from([0]), said]));
  webSocket.send(Buffer.from([255, 0]));
  await once(webSocket, "close");
  assert.ok(Buffer.concat(got).equals(said));
  await server.close();
});

test("configured files are served, renewed when they change, and kept while they are bad", async () => {
  const dir = await mkdtemp(join(tmpdir(), "crid-tls-"));
  const paths = { cert: join(dir, "tls.crt"), key: join(dir, "tls.key") };
  const write = async (pair: { cert: Buffer; key: Buffer }): Promise<string> => {
    await Promise.all([writeFile(paths.cert, pair.cert), writeFile(paths.key, pair.key)]);
    return new X509Certificate(pair.cert).fingerprint256;
  };
  await assert.rejects(serve(paths), /streaming TLS: .*tls\.(crt|key)/);
  const first = await write(selfSigned("127.0.0.1", { days: 1 }));
  const server = await serve(paths);
  assert.equal((await served(server)).fingerprint256, first);
  await writeFile(paths.cert, "half a certificate");
  await delay(100);
  assert.equal((await served(server)).fingerprint256, first);
  const second = await write(selfSigned("127.0.0.1", { days: 1 }));
  await delay(100);
  assert.equal((await served(server)).fingerprint256, second);
  await server.close();
  await rm(dir, { recursive: true });
});

test("with a client CA only clients that it signed get in", async () => {
  const dir = await mkdtemp(join(tmpdir(), "crid-tls-"));
  const client = selfSigned("kubelet", { days: 1 });
  const clientCA = join(dir, "ca.crt");
  await writeFile(clientCA, client.cert);
  const server = await serve({ clientCA });
  const ask = async (socket: TLSSocket): Promise<string> => {
    const closed = new Promise<void>((resolve) => (socket.closed ? resolve() : socket.once("close", () => resolve())));
    socket.write("GET /exec/none HTTP/1.1\r\nHost: x\r\n\r\n");
    let said = "";
    socket.on("data", (chunk: Buffer) => {
      said += chunk.toString("latin1");
    });
    await closed;
    return said;
  };
  assert.equal(await ask(await dial(server)), "");
  assert.equal(await ask(await dial(server, selfSigned("stranger", { days: 1 }))), "");
  assert.match(await ask(await dial(server, client)), /404 page not found/);
  await server.close();
  await rm(dir, { recursive: true });
});
