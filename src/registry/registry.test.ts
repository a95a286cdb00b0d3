import assert from "node:assert/strict";
import { test } from "node:test";
import { digestOf } from "../base/digest.ts";
import { CridError, isKind } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import type { BlobSink } from "./download.ts";
import type { RegistryAuth, RegistryConfig } from "./options.ts";
import { parseReference } from "./reference.ts";
import { Registry } from "./registry.ts";
import type { Repository } from "./repository.ts";
import { FakeRegistry } from "./testkit/fake-registry.ts";
import { blob, makeTestImage } from "./testkit/test-image.ts";

const signal = AbortSignal.timeout(60_000);

async function open(
  text: string,
  o: { config?: Partial<RegistryConfig>; auth?: RegistryAuth; progressTimeoutMs?: number } = {},
): Promise<Repository & AsyncDisposable> {
  const registry = new Registry({
    config: { configPath: [], mirrors: {}, ...o.config },
    progressTimeoutMs: o.progressTimeoutMs ?? 60_000,
    log: silentLogger(),
    env: {},
  });
  const repository = await registry.open(parseReference(text), { auth: o.auth });
  return Object.assign(repository, { [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose]() });
}

class MemorySink implements BlobSink {
  chunks: Uint8Array[] = [];
  restarts = 0;
  readonly #digest: string;
  constructor(digest: string, start: Uint8Array = Buffer.alloc(0)) {
    this.#digest = digest;
    if (start.length > 0) this.chunks.push(start);
  }
  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
  get offset(): number {
    return this.bytes.length;
  }
  async write(chunk: Buffer): Promise<void> {
    this.chunks.push(Buffer.from(chunk));
  }
  async restart(): Promise<void> {
    this.restarts++;
    this.chunks = [];
  }
  async verify(): Promise<boolean> {
    return digestOf(this.bytes) === this.#digest;
  }
}

const image = await makeTestImage({ layers: [[{ name: "hello", content: "world" }]] });

test("resolves a tag with the manifest's body, by HEAD without it, and fetches by digest", async () => {
  await using registry = await FakeRegistry.start();
  const ref = registry.add("team/app", "v1", image);
  await using repository = await open(ref);
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
  await using repository = await open(`${registry.host}/none:x`);
  await assert.rejects(repository.resolve({ signal }), (error) => {
    assert.ok(isKind(error, "not-found"));
    assert.match(error.message, /none:x/);
    assert.match(error.message, /404 Not Found: MANIFEST_UNKNOWN: not here/);
    assert.match(error.message, /127\.0\.0\.1/);
    return true;
  });
});

test("bearer token: realm, service and scope of the challenge, with the credentials; the token is used again", async () => {
  await using registry = await FakeRegistry.start();
  const ref = registry.add("team/app", "v1", image);
  registry.intercept = (request, response) => {
    if (request.url.startsWith("/token")) {
      const expected = `Basic ${Buffer.from("me:secret").toString("base64")}`;
      response.writeHead(request.headers.authorization === expected ? 200 : 401).end(JSON.stringify({ token: "T1", expires_in: 300 }));
      return true;
    }
    if (request.headers.authorization === "Bearer T1") return false;
    response
      .writeHead(401, { "www-authenticate": `Bearer realm="${registry.url}/token?x=1",service="svc",scope="repository:team/app:pull"` })
      .end();
    return true;
  };
  await using repository = await open(ref, { auth: { username: "me", password: "secret" } });
  await repository.resolve({ signal });
  await repository.manifest(image.manifest, { signal });
  const token = registry.requests.find(({ url }) => url.startsWith("/token"));
  assert.equal(token?.url, "/token?x=1&service=svc&scope=repository%3Ateam%2Fapp%3Apull&account=me");
  assert.equal(registry.count("/token"), 1);
  assert.equal(registry.count("/manifests/"), 3);
});

test("an expired token is fetched anew, once", async () => {
  await using registry = await FakeRegistry.start();
  const ref = registry.add("app", "v1", image);
  let current = 0;
  registry.intercept = (request, response) => {
    if (request.url.startsWith("/token")) {
      response.writeHead(200).end(JSON.stringify({ access_token: `T${++current}` }));
      return true;
    }
    if (request.headers.authorization === `Bearer T${current}` && current > 0) return false;
    response.writeHead(401, { "www-authenticate": `Bearer realm="${registry.url}/token"` }).end();
    return true;
  };
  await using repository = await open(ref);
  await repository.resolve({ signal });
  current = 7;
  await repository.resolve({ signal });
  assert.equal(current, 8);
});

test("basic: nothing is sent before the registry asks, then always", async () => {
  await using registry = await FakeRegistry.start();
  const ref = registry.add("app", "v1", image);
  const expected = `Basic ${Buffer.from("me:pa:ss").toString("base64")}`;
  registry.intercept = (request, response) => {
    if (request.headers.authorization === expected) return false;
    response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
    return true;
  };
  await using repository = await open(ref, { auth: { auth: Buffer.from("me:pa:ss").toString("base64") } });
  await repository.resolve({ signal });
  await repository.resolve({ signal });
  assert.deepEqual(
    registry.requests.map(({ headers }) => headers.authorization),
    [undefined, expected, expected],
  );
});

test("an identity token goes to the token service as a refresh token, a registry token as it is", async () => {
  await using registry = await FakeRegistry.start();
  const ref = registry.add("app", "v1", image);
  registry.intercept = (request, response) => {
    if (request.url.startsWith("/token")) {
      const form = new URLSearchParams(request.body);
      assert.equal(form.get("refresh_token"), "ID");
      assert.equal(form.get("grant_type"), "refresh_token");
      response.writeHead(200).end(JSON.stringify({ access_token: "OK" }));
      return true;
    }
    if (request.headers.authorization === "Bearer OK") return false;
    response.writeHead(401, { "www-authenticate": `Bearer realm="${registry.url}/token",service="s"` }).end();
    return true;
  };
  await using first = await open(ref, { auth: { identityToken: "ID" } });
  await first.resolve({ signal });
  await using second = await open(ref, { auth: { registryToken: "OK" } });
  await second.resolve({ signal });
  assert.equal(registry.count("POST /token"), 1);
});

test("a 401 loop ends, names no secret and says as whom it asked", async () => {
  await using registry = await FakeRegistry.start();
  let tokens = 0;
  registry.intercept = (request, response) => {
    if (request.url.startsWith("/token")) response.writeHead(200).end(JSON.stringify({ token: `T${tokens++}` }));
    else
      response
        .writeHead(401, { "www-authenticate": `Bearer realm="${registry.url}/token"` })
        .end('{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}');
    return true;
  };
  await using repository = await open(`${registry.host}/app:v1`, { auth: { username: "me", password: "hunter2" } });
  await assert.rejects(repository.resolve({ signal }), (error) => {
    assert.ok(isKind(error, "unauthenticated"));
    assert.match(error.message, /401 Unauthorized: UNAUTHORIZED: no \(credentials from the pull request\)/);
    assert.doesNotMatch(error.message, /hunter2|T\d/);
    return true;
  });
  assert.ok(registry.requests.length <= 5, String(registry.requests.length));
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
  await using repository = await open(`${upstream.host}/app:v1`, { config: { mirrors } });
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
  await using repository = await open(`${upstream.host}/app:v1`, { config: { mirrors } });
  await assert.rejects(repository.resolve({ signal }), (error) => isKind(error, "not-found"));
  assert.equal(upstream.requests.length, 0);
});

test("the call's credentials go to the image's registry, not to a mirror unless it is told so", async () => {
  await using mirror = await FakeRegistry.start();
  await using trusted = await FakeRegistry.start();
  await using own = await FakeRegistry.start();
  await using upstream = await FakeRegistry.start();
  const ask: FakeRegistry["intercept"] = (_, response) => {
    response.writeHead(401, { "www-authenticate": "Basic" }).end();
    return true;
  };
  for (const registry of [mirror, trusted, own, upstream]) registry.intercept = ask;
  const endpoints = [
    mirror.url,
    { url: trusted.url, useImageCredentials: true },
    { url: own.url, auth: { username: "mirror", password: "key" } },
  ];
  await using repository = await open(`${upstream.host}/app:v1`, {
    config: { mirrors: { "*": { endpoints } } },
    auth: { username: "me", password: "secret" },
  });
  await assert.rejects(repository.resolve({ signal }));
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;
  assert.deepEqual(
    mirror.requests.map(({ headers }) => headers.authorization),
    [undefined],
  );
  assert.deepEqual(
    trusted.requests.map(({ headers }) => headers.authorization),
    [undefined, basic("me:secret")],
  );
  assert.deepEqual(
    own.requests.map(({ headers }) => headers.authorization),
    [undefined, basic("mirror:key")],
  );
  assert.deepEqual(upstream.requests.map(({ headers }) => headers.authorization).slice(0, 2), [undefined, basic("me:secret")]);
});

test("credentials for another server are not sent", async () => {
  await using upstream = await FakeRegistry.start();
  upstream.intercept = (_, response) => {
    response.writeHead(401, { "www-authenticate": "Basic" }).end();
    return true;
  };
  await using repository = await open(`${upstream.host}/app:v1`, {
    auth: { username: "me", password: "x", serverAddress: "https://registry.example/v1/" },
  });
  await assert.rejects(repository.resolve({ signal }), /no credentials sent/);
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
  await using repository = await open("registry.invalid/app:v1", { config: { mirrors } });
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
  await using repository = await open(`${registry.host}/app:v1`);
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
  await using repository = await open("registry.invalid/app:v1", { config: { mirrors } });
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
    await using repository = await open(`${registry.host}/app:v1`);
    await assert.rejects(repository.resolve({ signal }), (error) => error instanceof CridError && why.test(error.message));
  });
}

test("a redirect loop ends", async () => {
  await using registry = await FakeRegistry.start();
  registry.intercept = (request, response) => {
    response.writeHead(302, { location: request.url }).end();
    return true;
  };
  await using repository = await open(`${registry.host}/app:v1`);
  await assert.rejects(repository.resolve({ signal }), /more than 5 redirects/);
});

test("a token service on a link-local address is not asked", async () => {
  await using registry = await FakeRegistry.start();
  registry.intercept = (_, response) => {
    response.writeHead(401, { "www-authenticate": 'Bearer realm="http://169.254.169.254/token"' }).end();
    return true;
  };
  await using repository = await open(`${registry.host}/app:v1`, { auth: { username: "a", password: "b" } });
  await assert.rejects(repository.resolve({ signal }), /link-local/);
});

test("manifests: wrong digest, lying header, too large, endless", async () => {
  await using registry = await FakeRegistry.start();
  registry.intercept = (_, response) => {
    response.writeHead(200, { "content-type": "application/json", "docker-content-digest": digestOf("x") }).end("{}");
    return true;
  };
  await using byTag = await open(`${registry.host}/app:v1`);
  await assert.rejects(byTag.resolve({ signal }), (error) => isKind(error, "data-loss"));
  await using byDigest = await open(`${registry.host}/app@${image.manifest.digest}`);
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
  await using repository = await open(`${registry.host}/app:v1`);
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
  await using repository = await open(`${registry.host}/app:v1`);
  const sink = new MemorySink(big.digest, big.data.subarray(0, 777_777));
  await repository.download(big, sink, { signal });
  assert.equal(sink.bytes.length, big.size);
});

test("a damaged beginning on disk is found and the blob fetched anew", async () => {
  await using registry = await FakeRegistry.start();
  registry.addBlob(big);
  await using repository = await open(`${registry.host}/app:v1`);
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
    await using alone = await open(`${mirror.host}/app:v1`);
    const sink = new MemorySink(big.digest);
    await assert.rejects(alone.download(big, sink, { signal }), (error) => {
      assert.ok(isKind(error, "data-loss"));
      assert.match(error.message, why);
      return true;
    });
    await using both = await open(`${registry.host}/app:v1`, { config: { mirrors: { "*": { endpoints: [mirror.url] } } } });
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
  await using repository = await open(`${registry.host}/app:v1`, { progressTimeoutMs: 1000 });
  const sink = new MemorySink(big.digest);
  const { interruptions } = await repository.download(big, sink, { signal });
  assert.equal(interruptions, 1);
});

test("a full disk is not the registry's fault", async () => {
  await using registry = await FakeRegistry.start();
  registry.addBlob(big);
  await using repository = await open(`${registry.host}/app:v1`);
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
  await using repository = await open(`${registry.host}/app:v1`);
  const controller = new AbortController();
  setTimeout(() => controller.abort(new CridError("canceled", "the caller went")), 50);
  await assert.rejects(repository.resolve({ signal: controller.signal }), (error) => isKind(error, "canceled"));
});
