import assert from "node:assert/strict";
import { test } from "node:test";
import { digestOf } from "../base/digest.ts";
import { CridError, isKind } from "../base/errors.ts";
import { FakeRegistry } from "./testkit/fake-registry.ts";
import { MemorySink, openRepository } from "./testkit/open.ts";
import { blob, makeTestImage } from "./testkit/test-image.ts";

const signal = AbortSignal.timeout(60_000);
const image = await makeTestImage({ layers: [[{ name: "hello", content: "world" }]] });

test("a redirect to another host carries neither credentials nor the operator's headers", async () => {
  await using registry = await FakeRegistry.start();
  await using storage = await FakeRegistry.start();
  const layer = blob("x", "some bytes");
  storage.intercept = (_, response) => {
    response.writeHead(200, { "content-length": layer.size }).end(layer.data);
    return true;
  };
  registry.intercept = (request, response) => {
    if (request.headers.authorization === undefined) response.writeHead(401, { "www-authenticate": "Basic" }).end();
    else response.writeHead(307, { location: `http://u:p@${storage.host}/bucket?sig=1` }).end();
    return true;
  };
  const mirrors = { "*": { endpoints: [{ url: registry.url, headers: { "x-key": "K" }, auth: { username: "a", password: "b" } }] } };
  await using repository = await openRepository("registry.invalid/app:v1", { config: { mirrors } });
  const sink = new MemorySink(layer.digest);
  await repository.download(layer, sink, { signal });
  assert.equal(sink.bytes.toString(), "some bytes");
  assert.equal(registry.requests[1]?.headers["x-key"], "K");
  const seen = storage.requests[0];
  assert.equal(seen?.url, "/bucket?sig=1");
  assert.equal(seen?.headers["x-key"], undefined);
  assert.equal(seen?.headers.authorization, undefined);
});

const badRedirects: [string, RegExp][] = [
  ["http://169.254.169.254/latest/meta-data", /link-local/],
  ["http://[fe80::1]/x", /link-local/],
  ["http://[::ffff:169.254.169.254]/x", /link-local/],
  ["http://2852039166/x", /link-local/],
  ["file:///etc/passwd", /neither http nor https/],
  ["gopher://x", /neither http nor https/],
  ["http://", /not a URL/],
];
for (const [location, why] of badRedirects) {
  test(`a redirect to ${location} is refused`, async () => {
    await using registry = await FakeRegistry.start();
    registry.intercept = (_, response) => {
      response.writeHead(302, { location }).end();
      return true;
    };
    await using repository = await openRepository(`${registry.host}/app:v1`);
    await assert.rejects(repository.resolve({ signal }), (error) => error instanceof CridError && why.test(error.message));
  });
}

test("a redirect loop ends", async () => {
  await using registry = await FakeRegistry.start();
  registry.intercept = (request, response) => {
    response.writeHead(302, { location: request.url }).end();
    return true;
  };
  await using repository = await openRepository(`${registry.host}/app:v1`);
  await assert.rejects(repository.resolve({ signal }), /more than 5 redirects/);
});

test("a token service on a link-local address is not asked", async () => {
  await using registry = await FakeRegistry.start();
  registry.intercept = (_, response) => {
    response.writeHead(401, { "www-authenticate": 'Bearer realm="http://169.254.169.254/token"' }).end();
    return true;
  };
  await using repository = await openRepository(`${registry.host}/app:v1`, { auth: { username: "a", password: "b" } });
  await assert.rejects(repository.resolve({ signal }), /link-local/);
});

test("manifests: wrong digest, lying header, too large, endless", async () => {
  await using registry = await FakeRegistry.start();
  registry.intercept = (_, response) => {
    response.writeHead(200, { "content-type": "application/json", "docker-content-digest": digestOf("x") }).end("{}");
    return true;
  };
  await using byTag = await openRepository(`${registry.host}/app:v1`);
  await assert.rejects(byTag.resolve({ signal }), (error) => isKind(error, "data-loss"));
  await using byDigest = await openRepository(`${registry.host}/app@${image.manifest.digest}`);
  await assert.rejects(byDigest.resolve({ signal }), (error) => isKind(error, "data-loss"));
  registry.intercept = (_, response) => {
    const timer = setInterval(() => response.write(Buffer.alloc(256 * 1024, 32)), 1);
    response.on("close", () => clearInterval(timer));
    return true;
  };
  await assert.rejects(byTag.resolve({ signal }), /the manifest is larger than 4194304 bytes/);
  registry.intercept = (_, response) => {
    response.writeHead(200, { "content-length": 50 * 1024 * 1024 }).write("{");
    return true;
  };
  await assert.rejects(byTag.resolve({ signal }), /the manifest is larger than 4194304 bytes/);
});
