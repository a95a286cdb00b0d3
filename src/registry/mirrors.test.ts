import assert from "node:assert/strict";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { silentLogger } from "../base/log.ts";
import type { EndpointConfig } from "./options.ts";
import { parseReference } from "./reference.ts";
import { Registry } from "./registry.ts";
import { FakeRegistry, type Intercept } from "./testkit/fake-registry.ts";
import { MemorySink } from "./testkit/open.ts";
import { makeCertificate } from "./testkit/test-certificate.ts";
import { makeTestImage } from "./testkit/test-image.ts";

// However the first mirror fails, the second is asked, for what a tag is and for each blob; and whether the first is then asked later for a while.

const signal = AbortSignal.timeout(120_000);
const image = await makeTestImage({ layers: [[{ name: "hello", content: "world".repeat(10_000) }]] });
const [layer] = image.layers;
assert.ok(layer !== undefined);

/** A server that speaks something else. */
async function odd(answer: (socket: Socket) => void): Promise<{ url: string } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => undefined));
    socket.once("data", () => answer(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function registryThat(intercept: Intercept): Promise<{ url: string } & AsyncDisposable> {
  const registry = await FakeRegistry.start();
  registry.intercept = intercept;
  return registry;
}

/** One that speaks http, by an https URL. */
async function plain(): Promise<{ url: string } & AsyncDisposable> {
  const registry = await FakeRegistry.start();
  return { url: registry.url.replace("http:", "https:"), [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose]() };
}

const status =
  (code: number, headers: Record<string, string> = {}): Intercept =>
  (_, response) =>
    Boolean(response.writeHead(code, headers).end("why"));

const failures: [string, () => Promise<{ url: string } & Partial<AsyncDisposable>>, { penalty: boolean; detail: RegExp }][] = [
  ["500", () => registryThat(status(500)), { penalty: true, detail: /500 Internal Server Error: why/ }],
  ["502", () => registryThat(status(502)), { penalty: true, detail: /502/ }],
  [
    "503 that asks for an hour",
    () => registryThat(status(503, { "retry-after": "3600" })),
    { penalty: true, detail: /retry after 3600 s/ },
  ],
  ["429", () => registryThat(status(429)), { penalty: true, detail: /429/ }],
  ["403", () => registryThat(status(403)), { penalty: false, detail: /403/ }],
  ["404", () => registryThat(status(404)), { penalty: false, detail: /404/ }],
  ["a name that nobody has", async () => ({ url: "http://no-such-mirror.invalid" }), { penalty: true, detail: /ENOTFOUND|EAI_AGAIN/ }],
  ["nobody at the port", async () => ({ url: "http://127.0.0.1:1" }), { penalty: true, detail: /ECONNREFUSED/ }],
  ["a certificate of nobody", () => FakeRegistry.start({ tls: makeCertificate("self") }), { penalty: true, detail: /^TLS: / }],
  ["https asked of what speaks http", plain, { penalty: true, detail: /TLS|SSL|EPROTO/ }],
  ["a connection that is cut", () => odd((socket) => socket.destroy()), { penalty: true, detail: /socket|closed|ECONNRESET/i }],
  ["something that is not HTTP", () => odd((socket) => socket.end("220 smtp.example ESMTP\r\n")), { penalty: true, detail: /not HTTP/ }],
  [
    "an answer that is a lie",
    () =>
      registryThat((_, response) => Boolean(response.writeHead(200, { "docker-content-digest": `sha256:${"0".repeat(64)}` }).end("{}"))),
    { penalty: true, detail: /digest|bytes/ },
  ],
  [
    "redirects without end",
    () => registryThat((request, response) => Boolean(response.writeHead(302, { location: request.url }).end())),
    { penalty: true, detail: /redirects/ },
  ],
];

for (const [what, make, { penalty, detail }] of failures) {
  test(`${what}: the next endpoint is asked${penalty ? ", and this one after it for a while" : "; this one stays the first"}`, async (t) => {
    const bad = await make();
    t.after(() => bad[Symbol.asyncDispose]?.());
    await using good = await FakeRegistry.start();
    good.add("app", "v1", image);
    const endpoints: EndpointConfig[] = [{ url: bad.url }, { url: good.url }];
    const config = { configPath: [], mirrors: { "registry.invalid": { endpoints, fallback: false } } };
    await using registry = new Registry({ config, progressTimeoutMs: 5000, log: silentLogger(), env: {} });
    const repository = await registry.open(parseReference("registry.invalid/app:v1"));
    const { endpoint, digest } = await repository.resolve({ signal });
    assert.deepEqual([endpoint, digest], [`${good.url}/v2`, image.manifest.digest]);
    const [first, second] = (await registry.explain("registry.invalid/app:v1", { signal })).endpoints;
    assert.ok(first?.answer.ok === false && detail.test(first.answer.detail), JSON.stringify(first));
    assert.equal(first.penaltyMs > 0, penalty, `${first.penaltyMs}`);
    assert.equal(second?.penaltyMs, 0);
    const sink = new MemorySink(layer.digest);
    assert.equal((await repository.download(layer, sink, { signal })).endpoint, `${good.url}/v2`);
    assert.deepEqual(sink.bytes, layer.data);
  });
}
