import assert from "node:assert/strict";
import { test } from "node:test";
import { CridError, isKind } from "../base/errors.ts";
import { FakeRegistry } from "./testkit/fake-registry.ts";
import { MemorySink, openRepository } from "./testkit/open.ts";
import { blob } from "./testkit/test-image.ts";

const signal = AbortSignal.timeout(60_000);

const big = blob("application/octet-stream", Buffer.alloc(1_000_000, "0123456789abcdef"));

test("a blob that is cut goes on by Range where it stopped", async () => {
  await using registry = await FakeRegistry.start();
  registry.addBlob(big);
  let cuts = 0;
  registry.intercept = (request, response) => {
    if (cuts === 3) return false;
    const first = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? "0");
    const headers = first === 0 ? {} : { "content-range": `bytes ${first}-${big.size - 1}/${big.size}` };
    response.writeHead(first === 0 ? 200 : 206, { ...headers, "content-length": big.size - first });
    response.write(big.data.subarray(first, first + 200_000), () => setTimeout(() => response.destroy(), 20));
    cuts++;
    return true;
  };
  await using repository = await openRepository(`${registry.host}/app:v1`);
  const sink = new MemorySink(big.digest, big.data.subarray(0, 1000));
  const result = await repository.download(big, sink, { signal });
  assert.equal(result.resumedFrom, 1000);
  assert.equal(result.interruptions, 3);
  assert.equal(sink.restarts, 0);
  assert.equal(registry.requests[0]?.headers.range, "bytes=1000-");
});

test("a registry without Range sends it all again, and what is there is skipped", async () => {
  await using registry = await FakeRegistry.start();
  registry.addBlob(big);
  registry.ranges = false;
  await using repository = await openRepository(`${registry.host}/app:v1`);
  const sink = new MemorySink(big.digest, big.data.subarray(0, 777_777));
  await repository.download(big, sink, { signal });
  assert.equal(sink.bytes.length, big.size);
});

test("a damaged beginning on disk is found and the blob fetched anew", async () => {
  await using registry = await FakeRegistry.start();
  registry.addBlob(big);
  await using repository = await openRepository(`${registry.host}/app:v1`);
  const sink = new MemorySink(big.digest, Buffer.alloc(5000));
  await repository.download(big, sink, { signal });
  assert.equal(sink.restarts, 1);
});

test("blobs: wrong content, wrong length, endless, and a mirror that lies while the registry does not", async () => {
  await using registry = await FakeRegistry.start();
  await using mirror = await FakeRegistry.start();
  registry.addBlob(big);
  const fail = async (intercept: FakeRegistry["intercept"], why: RegExp): Promise<void> => {
    mirror.intercept = intercept;
    await using alone = await openRepository(`${mirror.host}/app:v1`);
    const sink = new MemorySink(big.digest);
    await assert.rejects(alone.download(big, sink, { signal }), (error) => {
      assert.ok(isKind(error, "data-loss"));
      assert.match(error.message, why);
      return true;
    });
    await using both = await openRepository(`${registry.host}/app:v1`, { config: { mirrors: { "*": { endpoints: [mirror.url] } } } });
    const healed = new MemorySink(big.digest);
    const { endpoint } = await both.download(big, healed, { signal });
    assert.equal(endpoint, `${registry.url}/v2`);
    assert.ok(await healed.verify());
  };
  await fail((_, response) => Boolean(response.end(Buffer.alloc(big.size, "x"))), /another digest/);
  await fail((_, response) => Boolean(response.end(Buffer.alloc(10))), /has 10 bytes, the manifest says 1000000/);
  await fail((_, response) => {
    const timer = setInterval(() => response.write(Buffer.alloc(256 * 1024)), 1);
    response.on("close", () => clearInterval(timer));
    return true;
  }, /sends more than the 1000000 bytes/);
});

test("a body that brings nothing for the progress timeout is given up", async () => {
  await using registry = await FakeRegistry.start();
  registry.addBlob(big);
  let stalls = 1;
  registry.intercept = (_, response) => {
    if (stalls-- <= 0) return false;
    response.writeHead(200, { "content-length": big.size }).write(big.data.subarray(0, 100_000));
    return true;
  };
  await using repository = await openRepository(`${registry.host}/app:v1`, { progressTimeoutMs: 1000 });
  const sink = new MemorySink(big.digest);
  const { interruptions } = await repository.download(big, sink, { signal });
  assert.equal(interruptions, 1);
});

test("a full disk is not the registry's fault", async () => {
  await using registry = await FakeRegistry.start();
  registry.addBlob(big);
  await using repository = await openRepository(`${registry.host}/app:v1`);
  const sink = new MemorySink(big.digest);
  sink.write = async () => {
    throw new CridError("resource-exhausted", "no space");
  };
  await assert.rejects(repository.download(big, sink, { signal }), (error) => isKind(error, "resource-exhausted"));
  assert.equal(registry.requests.length, 1);
});

test("an abort ends a request at once with its reason", async () => {
  await using registry = await FakeRegistry.start();
  registry.intercept = () => true;
  await using repository = await openRepository(`${registry.host}/app:v1`);
  const controller = new AbortController();
  setTimeout(() => controller.abort(new CridError("canceled", "the caller went")), 50);
  await assert.rejects(repository.resolve({ signal: controller.signal }), (error) => isKind(error, "canceled"));
});
