import assert from "node:assert/strict";
import { test } from "node:test";
import { isKind } from "../../base/errors.ts";
import { FakeRegistry } from "../testkit/fake-registry.ts";
import { openRepository } from "../testkit/open.ts";
import { makeTestImage } from "../testkit/test-image.ts";

const signal = AbortSignal.timeout(60_000);
const image = await makeTestImage({ layers: [[{ name: "hello", content: "world" }]] });

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
  await using repository = await openRepository(ref, { auth: { username: "me", password: "secret" } });
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
  await using repository = await openRepository(ref);
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
  await using repository = await openRepository(ref, { auth: { auth: Buffer.from("me:pa:ss").toString("base64") } });
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
  await using first = await openRepository(ref, { auth: { identityToken: "ID" } });
  await first.resolve({ signal });
  await using second = await openRepository(ref, { auth: { registryToken: "OK" } });
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
  await using repository = await openRepository(`${registry.host}/app:v1`, { auth: { username: "me", password: "hunter2" } });
  await assert.rejects(repository.resolve({ signal }), (error) => {
    assert.ok(isKind(error, "unauthenticated"));
    assert.match(error.message, /401 Unauthorized: UNAUTHORIZED: no \(credentials from the pull request\)/);
    assert.doesNotMatch(error.message, /hunter2|T\d/);
    return true;
  });
  assert.ok(registry.requests.length <= 5, String(registry.requests.length));
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
  await using repository = await openRepository(`${upstream.host}/app:v1`, {
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
  await using repository = await openRepository(`${upstream.host}/app:v1`, {
    auth: { username: "me", password: "x", serverAddress: "https://registry.example/v1/" },
  });
  await assert.rejects(repository.resolve({ signal }), /no credentials sent/);
});
