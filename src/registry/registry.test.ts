import assert from "node:assert/strict";
import { test } from "node:test";
import { isKind } from "../base/errors.ts";
import { FakeRegistry } from "./testkit/fake-registry.ts";
import { openRepository } from "./testkit/open.ts";
import { makeTestImage } from "./testkit/test-image.ts";

const signal = AbortSignal.timeout(60_000);
const image = await makeTestImage({ layers: [[{ name: "hello", content: "world" }]] });

test("resolves a tag with the manifest's body, by HEAD without it, and fetches by digest", async () => {
  await using registry = await FakeRegistry.start();
  const ref = registry.add("team/app", "v1", image);
  await using repository = await openRepository(ref);
  const resolved = await repository.resolve({ signal });
  assert.equal(resolved.digest, image.manifest.digest);
  assert.deepEqual(resolved.body, image.manifest.data);
  assert.equal(resolved.mediaType, image.manifest.mediaType);
  const head = await repository.resolve({ digestOnly: true, signal });
  assert.equal(head.body, undefined);
  assert.equal(head.digest, image.manifest.digest);
  assert.equal((await repository.manifest(image.manifest, { signal })).body.length, image.manifest.size);
  assert.deepEqual(
    registry.requests.map(({ method }) => method),
    ["GET", "HEAD", "GET"],
  );
});

test("a missing tag is not-found and says what the registry said", async () => {
  await using registry = await FakeRegistry.start();
  await using repository = await openRepository(`${registry.host}/none:x`);
  await assert.rejects(repository.resolve({ signal }), (error) => {
    assert.ok(isKind(error, "not-found"));
    assert.match(error.message, /none:x/);
    assert.match(error.message, /404 Not Found: MANIFEST_UNKNOWN: not here/);
    assert.match(error.message, /127\.0\.0\.1/);
    return true;
  });
});

test("mirrors are tried in order, the registry last, and the error lists all of them", async () => {
  await using busy = await FakeRegistry.start();
  await using empty = await FakeRegistry.start();
  await using upstream = await FakeRegistry.start();
  busy.intercept = (_, response) => {
    response.writeHead(503).end("<html><b>maintenance</b></html>");
    return true;
  };
  const mirrors = { [upstream.host]: { endpoints: [busy.url, `${empty.url}/cache`, "http://127.0.0.1:1"] } };
  await using repository = await openRepository(`${upstream.host}/app:v1`, { config: { mirrors } });
  await assert.rejects(repository.resolve({ signal }), (error) => {
    assert.ok(isKind(error, "not-found"));
    const places = ["tried 4 endpoints", "503 Service Unavailable: maintenance", "/cache/v2", "ECONNREFUSED", "MANIFEST_UNKNOWN"].map(
      (text) => error.message.lastIndexOf(text),
    );
    assert.ok(
      places.every((at, index) => at >= 0 && (index === 0 || at > (places[index - 1] ?? 0))),
      error.message,
    );
    return true;
  });
  assert.equal(empty.requests[0]?.url, `/cache/v2/app/manifests/v1?ns=${encodeURIComponent(upstream.host)}`);
  assert.equal(upstream.requests[0]?.url, "/v2/app/manifests/v1");
  upstream.add("app", "v1", image);
  assert.equal((await repository.resolve({ signal })).endpoint, `${upstream.url}/v2`);
});

test("fallback: false keeps away from the registry itself", async () => {
  await using mirror = await FakeRegistry.start();
  await using upstream = await FakeRegistry.start();
  upstream.add("app", "v1", image);
  const mirrors = { "*": { endpoints: [mirror.url], fallback: false } };
  await using repository = await openRepository(`${upstream.host}/app:v1`, { config: { mirrors } });
  await assert.rejects(repository.resolve({ signal }), (error) => isKind(error, "not-found"));
  assert.equal(upstream.requests.length, 0);
});

test("an endpoint that failed is tried after the others for a while", async () => {
  await using flaky = await FakeRegistry.start();
  await using good = await FakeRegistry.start();
  good.add("app", "v1", image);
  flaky.intercept = (_, response) => {
    response.writeHead(500).end();
    return true;
  };
  const mirrors = { "*": { endpoints: [flaky.url, good.url], fallback: false } };
  await using repository = await openRepository("registry.invalid/app:v1", { config: { mirrors } });
  await repository.resolve({ signal });
  await repository.resolve({ signal });
  assert.equal(flaky.requests.length, 1);
});

test("429 with a short Retry-After is waited for, with a long one it is an error that says so", async () => {
  await using registry = await FakeRegistry.start();
  registry.add("app", "v1", image);
  let left = 1;
  registry.intercept = (_, response) => {
    if (left-- <= 0) return false;
    response.writeHead(429, { "retry-after": "1", "ratelimit-remaining": "0;w=21600" }).end("slow down");
    return true;
  };
  await using repository = await openRepository(`${registry.host}/app:v1`);
  const started = performance.now();
  await repository.resolve({ signal });
  assert.ok(performance.now() - started > 900);
  registry.intercept = (_, response) => {
    response.writeHead(429, { "retry-after": "3600", "ratelimit-remaining": "0;w=21600" }).end("slow down");
    return true;
  };
  await assert.rejects(repository.resolve({ signal }), (error) => {
    assert.ok(isKind(error, "resource-exhausted"));
    assert.match(error.message, /429 Too Many Requests: slow down \(retry after 3600 s, ratelimit-remaining 0;w=21600\)/);
    return true;
  });
});
