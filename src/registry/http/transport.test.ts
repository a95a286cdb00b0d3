import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { silentLogger } from "../../base/log.ts";
import type { EndpointConfig } from "../options.ts";
import { parseReference } from "../reference.ts";
import { Registry } from "../registry.ts";
import { FakeRegistry } from "../testkit/fake-registry.ts";
import { makeCertificate } from "../testkit/test-certificate.ts";
import { makeTestImage } from "../testkit/test-image.ts";
import type { ProxyEnv } from "./proxy.ts";

const signal = AbortSignal.timeout(60_000);
const authority = makeCertificate("crid test authority");
const server = makeCertificate("registry", { issuer: authority, hosts: ["127.0.0.1", "localhost"] });
const wrongName = makeCertificate("registry", { issuer: authority, hosts: ["other.example"] });
const client = makeCertificate("node", { issuer: authority });
const image = await makeTestImage({ layers: [] });

async function files(t: TestContext, content: Record<string, string>): Promise<(name: string) => string> {
  const root = await mkdtemp(join(tmpdir(), "crid-tls-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(content)) await writeFile(join(root, name), text);
  return (name) => join(root, name);
}

async function resolve(endpoint: Partial<EndpointConfig> & { url: string }, env: ProxyEnv = {}): Promise<string> {
  const config = { configPath: [], mirrors: { "*": { endpoints: [endpoint], fallback: false } } };
  await using registry = new Registry({ config, progressTimeoutMs: 10_000, log: silentLogger(), env });
  const repository = await registry.open(parseReference("registry.invalid/app:v1"));
  return (await repository.resolve({ signal })).digest;
}

test("TLS: authorities from a file, names checked, skip_verify", async (t) => {
  const at = await files(t, { "ca.pem": authority.cert });
  await using registry = await FakeRegistry.start({ tls: server });
  registry.add("app", "v1", image);
  await assert.rejects(resolve({ url: registry.url }), /TLS: .*(SELF_SIGNED|UNABLE_TO)/i);
  assert.equal(await resolve({ url: registry.url, ca: [at("ca.pem")] }), image.manifest.digest);
  assert.equal(await resolve({ url: registry.url, skipVerify: true }), image.manifest.digest);
  await assert.rejects(resolve({ url: registry.url, ca: [at("missing.pem")] }), /read the certificate authority .*missing\.pem: ENOENT/);
  await using misnamed = await FakeRegistry.start({ tls: wrongName });
  await assert.rejects(resolve({ url: misnamed.url, ca: [at("ca.pem")] }), /TLS: .*ERR_TLS_CERT_ALTNAME_INVALID/);
});

test("TLS: client certificates, as two files and as one", async (t) => {
  const at = await files(t, {
    "ca.pem": authority.cert,
    "client.cert": client.cert,
    "client.key": client.key,
    "both.pem": client.cert + client.key,
  });
  await using registry = await FakeRegistry.start({ tls: { ...server, ca: authority.cert, requestCert: true } });
  registry.add("app", "v1", image);
  const ca = [at("ca.pem")];
  await assert.rejects(resolve({ url: registry.url, ca }));
  assert.equal(
    await resolve({ url: registry.url, ca, client: [{ cert: at("client.cert"), key: at("client.key") }] }),
    image.manifest.digest,
  );
  assert.equal(await resolve({ url: registry.url, ca, client: [{ cert: at("both.pem") }] }), image.manifest.digest);
});

test("a registry on loopback is spoken to by http, and by https when it wants that", async () => {
  for (const tls of [undefined, server]) {
    await using registry = await FakeRegistry.start(tls === undefined ? {} : { tls });
    registry.add("app", "v1", image);
    await using client = new Registry({ config: { configPath: [], mirrors: {} }, progressTimeoutMs: 10_000, log: silentLogger(), env: {} });
    const repository = await client.open(parseReference(`${registry.host}/app:v1`));
    assert.equal((await repository.resolve({ signal })).digest, image.manifest.digest);
    assert.equal((await repository.resolve({ signal })).digest, image.manifest.digest);
  }
});

test("a redirect from https to http is refused", async (t) => {
  const at = await files(t, { "ca.pem": authority.cert });
  await using plain = await FakeRegistry.start();
  plain.add("app", "v1", image);
  await using registry = await FakeRegistry.start({ tls: server });
  registry.intercept = (request, response) => {
    response.writeHead(307, { location: `${plain.url}${request.url}` }).end();
    return true;
  };
  await assert.rejects(resolve({ url: registry.url, ca: [at("ca.pem")] }), /it goes from https to http/);
  assert.equal(plain.requests.length, 0);
});

test("a name that turns out to be a link-local or loopback address is refused for a redirect", async () => {
  await using registry = await FakeRegistry.start({ host: "::" });
  registry.intercept = (_, response) => {
    response.writeHead(307, { location: `http://localhost:${registry.port}/x` }).end();
    return true;
  };
  // This machine by a name that is not loopback: then "localhost" is somewhere a registry must not send us.
  const address = await outsideAddress();
  if (address === undefined) return;
  await assert.rejects(resolve({ url: `http://${address}:${registry.port}` }), /refused: localhost is this machine/);
});

async function outsideAddress(): Promise<string | undefined> {
  const { networkInterfaces } = await import("node:os");
  return Object.values(networkInterfaces())
    .flat()
    .find((item) => item !== undefined && item.family === "IPv4" && !item.internal)?.address;
}

test("a proxy from the environment carries https in a tunnel", async (t) => {
  const at = await files(t, { "ca.pem": authority.cert });
  await using registry = await FakeRegistry.start({ tls: server });
  registry.add("app", "v1", image);
  const tunnels: string[] = [];
  const proxy = createServer();
  proxy.on("connect", (request, socket) => {
    tunnels.push(`${request.url} ${request.headers["proxy-authorization"] ?? ""}`);
    const upstream = connect(registry.port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      upstream.pipe(socket).pipe(upstream);
    });
    for (const end of [upstream, socket]) end.on("error", () => {});
  });
  await new Promise<void>((done) => proxy.listen(0, "127.0.0.1", done));
  t.after(() => proxy.close());
  const HTTPS_PROXY = `http://me:pw@127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  // The certificate is for localhost, which is never proxied: so the name in the URL is another one, and not checked.
  const digest = await resolve({ url: "https://registry.example:8443", ca: [at("ca.pem")], skipVerify: true }, { HTTPS_PROXY });
  assert.equal(digest, image.manifest.digest);
  assert.deepEqual(tunnels, [`registry.example:8443 Basic ${Buffer.from("me:pw").toString("base64")}`]);
});
