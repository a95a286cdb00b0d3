import assert from "node:assert/strict";
import { after, test } from "node:test";
import { CridError, type ErrorKind } from "../base/errors.ts";
import { FakeRegistry, type Intercept } from "../registry/testkit/fake-registry.ts";
import { blob, makeTestImage } from "../registry/testkit/test-image.ts";
import { startNode } from "./testkit.ts";

// Each registry does its worst, over real connections: the pull fails with a clear error in bounded time and memory, nothing of it is kept,
// and the daemon pulls on from an honest one. What single requests may get is in registry/hostile.test.ts.

const image = await makeTestImage({ layers: [[{ name: "a", content: "a" }], [{ name: "b", content: "b".repeat(100_000) }]] });
const registry = await FakeRegistry.start();
/** Where credentials must not go. */
const thief = await FakeRegistry.start();
after(async () => {
  await registry[Symbol.asyncDispose]();
  await thief[Symbol.asyncDispose]();
});
const ref = registry.add("app", "v1", image);
const nothing = { blobs: 0, ingests: 0, leases: 0, layers: 0, staging: 0 };
const index = "application/vnd.oci.image.index.v1+json";
const auth = { username: "user", password: "hunter2" };

/** Answers requests whose method and path have the text. */
function when(text: string, answer: Intercept): Intercept {
  return (request, response) => (`${request.method} ${request.url}`.includes(text) ? answer(request, response) : false);
}

const always =
  (run: (response: Parameters<Intercept>[1]) => void): Intercept =>
  (_, response) => {
    run(response);
    return true;
  };

/** Sends until nobody listens. */
function endless(response: Parameters<Intercept>[1], chunk: Buffer, everyMs: number): void {
  const timer = setInterval(() => response.write(chunk), everyMs);
  response.on("close", () => clearInterval(timer));
}

const [first, second] = image.layers;
const cases: [string, Intercept, ErrorKind, RegExp][] = [
  [
    "a manifest that is not JSON",
    when(
      "/manifests/",
      always((r) => r.writeHead(200, { "content-type": index }).end("{[}")),
    ),
    "data-loss",
    /not JSON/,
  ],
  [
    "a manifest of 50 MB",
    when(
      "/manifests/",
      always((r) => r.writeHead(200, { "content-type": index }).end(Buffer.alloc(50 << 20, 0x20))),
    ),
    "data-loss",
    /larger than 4194304 bytes/,
  ],
  [
    "JSON of 100,000 arrays inside one another",
    when(
      "/manifests/",
      always((r) => r.writeHead(200, { "content-type": index }).end(`${"[".repeat(100_000)}${"]".repeat(100_000)}`)),
    ),
    "data-loss",
    /manifest/,
  ],
  [
    "a manifest that says it is HTML",
    when(
      "/manifests/",
      always((r) => r.writeHead(200, { "content-type": "text/html" }).end("<html>Log in to the hotel's network</html>")),
    ),
    "data-loss",
    /not JSON|text\/html/,
  ],
  [
    "headers without end",
    when(
      "/manifests/",
      always((r) => r.writeHead(200, Object.fromEntries(Array.from({ length: 1500 }, (_, n) => [`x-${n}`, "v".repeat(100)]))).end()),
    ),
    "data-loss",
    /not HTTP|headers/i,
  ],
  [
    "a layer without end",
    when(
      second?.digest ?? "",
      always((r) => endless(r.writeHead(200), Buffer.alloc(65_536), 1)),
    ),
    "data-loss",
    /more than the \d+ bytes/,
  ],
  [
    "a layer of other bytes",
    when(
      second?.digest ?? "",
      always((r) => r.end(Buffer.alloc(second?.size ?? 0))),
    ),
    "data-loss",
    /another digest/,
  ],
  [
    "a layer of another size",
    when(
      first?.digest ?? "",
      always((r) => r.end("short")),
    ),
    "data-loss",
    /has 5 bytes, the manifest says/,
  ],
  [
    "a layer that stops in its middle and says nothing more",
    when(
      second?.digest ?? "",
      always((r) => void r.writeHead(200).write("x")),
    ),
    "deadline-exceeded",
    /timed out|timeout/i,
  ],
  [
    "401 for ever",
    always((r) => r.writeHead(401, { "www-authenticate": `Bearer realm="${registry.url}/token"` }).end('{"token":"t"}')),
    "unauthenticated",
    /401/,
  ],
  [
    "a token of 50 MB",
    (request, response) => {
      if (request.url.startsWith("/token")) response.writeHead(200).end(Buffer.alloc(50 << 20, 0x20));
      else response.writeHead(401, { "www-authenticate": `Bearer realm="${registry.url}/token"` }).end();
      return true;
    },
    "data-loss",
    /larger than 1048576 bytes/,
  ],
  [
    "a challenge of 10,000 schemes",
    always((r) => r.writeHead(401, { "www-authenticate": "Foo a=b,".repeat(1200) }).end()),
    "unauthenticated",
    /401/,
  ],
  [
    "a redirect that takes the credentials elsewhere",
    (request, response) => {
      if (request.headers.authorization === undefined) response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
      else response.writeHead(307, { location: `${thief.url}${request.url}` }).end();
      return true;
    },
    "not-found",
    /404/,
  ],
  [
    "a redirect to the machine's own metadata",
    always((r) => r.writeHead(307, { location: "http://169.254.169.254/latest" }).end()),
    "permission-denied",
    /link-local/,
  ],
  ["redirects without end", (request, r) => Boolean(r.writeHead(307, { location: request.url }).end()), "data-loss", /redirects/],
];

for (const [what, intercept, kind, message] of cases) {
  test(`${what}: an error that says so, and nothing is kept`, async () => {
    await using node = await startNode({ progressTimeoutMs: 700 });
    registry.intercept = intercept;
    const before = process.memoryUsage().rss;
    await assert.rejects(node.images.pull(ref, { auth, signal: AbortSignal.timeout(60_000) }), (error) => {
      assert.ok(error instanceof CridError, String(error));
      assert.match(error.message, message);
      assert.equal(error.kind, kind, error.message);
      assert.ok(!error.message.includes("hunter2"));
      assert.ok(error.message.length < 5000);
      return true;
    });
    assert.ok(process.memoryUsage().rss - before < 200 << 20);
    assert.equal(thief.requests.filter(({ headers }) => headers.authorization !== undefined).length, 0);
    const { blobs, ingests, layers, leases, staging } = await node.left();
    // What may pass keeps what it has for the next try, under its lease.
    if (kind !== "deadline-exceeded") assert.deepEqual({ blobs, ingests, layers, leases, staging }, nothing);
    registry.intercept = () => false;
    // By another caller: what the first one's lease held is the image's now.
    await node.images.pull(ref, { signal: AbortSignal.timeout(60_000) });
    await node.images.remove(ref, { signal: AbortSignal.timeout(60_000) });
    assert.deepEqual(await node.left(), nothing);
  });
}

test("an index that names itself, and a chain of indexes without end", async () => {
  await using node = await startNode();
  const platform = { os: "linux", architecture: process.arch === "x64" ? "amd64" : process.arch };
  let inner = image.manifest;
  for (let depth = 0; depth < 6; depth++) {
    const { mediaType, digest, size } = inner;
    inner = blob(index, JSON.stringify({ schemaVersion: 2, mediaType: index, manifests: [{ mediaType, digest, size, platform }] }));
    registry.addManifest("app", inner.digest, inner);
  }
  const chained = registry.addManifest("app", "chain", inner);
  await assert.rejects(node.images.pull(chained, { signal: AbortSignal.timeout(30_000) }), /more than 4 indexes inside one another/);
  // A digest in itself nobody can make; a registry that answers every digest with the same index can.
  const digest = `sha256:${"ab".repeat(32)}`;
  const selfish = blob(
    index,
    JSON.stringify({ schemaVersion: 2, mediaType: index, manifests: [{ mediaType: index, digest, size: 300, platform }] }),
  );
  registry.intercept = when(
    digest,
    always((r) => r.writeHead(200, { "content-type": index }).end(selfish.data)),
  );
  const self = registry.addManifest("app", "self", selfish);
  await assert.rejects(
    node.images.pull(self, { signal: AbortSignal.timeout(30_000) }),
    (error) => error instanceof CridError && error.kind === "data-loss",
  );
  registry.intercept = () => false;
  assert.deepEqual(await node.left(), nothing);
});
