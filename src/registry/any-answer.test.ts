import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CridError } from "../base/errors.ts";
import { parseContentRange } from "./download.ts";
import { parseRetryAfter } from "./http/send.ts";
import { FakeRegistry } from "./testkit/fake-registry.ts";
import { MemorySink, openRepository } from "./testkit/open.ts";
import { blob, makeTestImage } from "./testkit/test-image.ts";

// Whatever a registry, or its token service, answers: what was asked for, or an error that says what is wrong with the answer. One of kind "unknown"
// without a status would be an exception of ours.

const signal = AbortSignal.timeout(300_000);
const image = await makeTestImage({ layers: [[{ name: "hello", content: "world" }]] });
const layer = blob("application/octet-stream", Buffer.alloc(1000, "0123456789"));

function assertSaid(error: unknown): void {
  assert.ok(error instanceof CridError, String(error));
  // A status that means nothing here is told as it is.
  assert.ok(error.kind !== "internal" && (error.kind !== "unknown" || /: [234]\d\d /.test(error.message)), `${error.stack}`);
  assert.ok(error.message.length < 3000 && error.message.isWellFormed(), error.message);
}

/** Header values that a server can send. */
const headerText = fc
  .oneof(fc.constantFrom("", "0", "-1", "1e9", "99999999999999999999", "Tue, 01 Jan 2999 00:00:00 GMT", "*"), fc.string({ maxLength: 30 }))
  .map((text) => text.replace(/[^\x20-\x7e]/g, "?"));

test("Retry-After: seconds, a date, or nothing", () => {
  assert.equal(parseRetryAfter("120"), 120_000);
  fc.assert(
    fc.property(fc.date({ min: new Date(0), max: new Date("2500-01-01"), noInvalidDate: true }), (date) => {
      const ms = parseRetryAfter(date.toUTCString()) ?? Number.NaN;
      const expected = Math.max(0, Math.floor(date.getTime() / 1000) * 1000 - Date.now());
      assert.ok(Math.abs(ms - expected) < 60_000, `${ms} ${expected}`);
    }),
  );
  fc.assert(
    fc.property(fc.oneof(fc.string(), headerText, fc.constant(undefined), fc.array(fc.string())), (text) => {
      const ms = parseRetryAfter(text);
      assert.ok(ms === undefined || (Number.isFinite(ms) && ms >= 0), `${ms}`);
    }),
  );
});

test("Content-Range: what servers write is read, anything else is none", () => {
  const byte = fc.nat({ max: 2 ** 40 });
  fc.assert(
    fc.property(byte, byte, fc.option(byte, { nil: undefined }), (first, length, total) => {
      assert.deepEqual(parseContentRange(`bytes ${first}-${first + length}/${total ?? "*"}`), { first, total });
    }),
  );
  for (const text of [
    undefined,
    "",
    "bytes */10",
    "bytes 5-4/10",
    "bytes 1-2",
    "items 1-2/3",
    "bytes 1-2/3 ",
    `bytes ${"9".repeat(16)}-${"9".repeat(17)}/*`,
  ])
    assert.equal(parseContentRange(text), undefined, `${text}`);
});

test("any token: it is used, or the error says that it cannot be", async () => {
  await using registry = await FakeRegistry.start();
  const ref = registry.add("app", "v1", image);
  let answer = "";
  let status = 200;
  registry.intercept = (request, response) => {
    if (request.url.startsWith("/token")) response.writeHead(status).end(answer);
    else if (request.headers.authorization === undefined)
      response.writeHead(401, { "www-authenticate": `Bearer realm="${registry.url}/token"` }).end();
    else return false;
    return true;
  };
  const value = fc.oneof(
    fc.constantFrom<unknown>(
      "good",
      "two words",
      "",
      "\u00e9",
      "\n",
      null,
      7,
      -1,
      "60",
      1e300,
      { toString: 1, valueOf: 1 },
      [{}],
      "\ud800",
    ),
    fc.string(),
  );
  const shaped = fc
    .record({ token: value, access_token: value, expires_in: value }, { requiredKeys: [] })
    .map((object) => JSON.stringify(object));
  const body = fc.oneof({ arbitrary: shaped, weight: 4 }, fc.json(), fc.string(), fc.constantFrom("null", "[]", "{", "<html>"));
  let used = 0;
  await fc.assert(
    fc.asyncProperty(body, fc.constantFrom(200, 200, 200, 200, 204, 301, 400, 403, 500), async (text, code) => {
      answer = text;
      status = code;
      // Asked directly: a 500 is tried again after a while, which has nothing to do with what it says.
      await using repository = await openRepository(ref);
      const [endpoint] = repository.endpoints;
      assert.ok(endpoint);
      try {
        await repository.ask(endpoint, { signal });
        used++;
      } catch (error) {
        assertSaid(error);
      }
    }),
    { numRuns: 250 },
  );
  assert.ok(used > 10, `${used} were used`);
});

test("any challenge: answered with a token, or the refusal is told", async () => {
  await using registry = await FakeRegistry.start();
  const ref = registry.add("app", "v1", image);
  let challenge = "";
  registry.intercept = (request, response) => {
    if (request.url.startsWith("/token")) response.writeHead(200).end('{"token":"t"}');
    else if (request.headers.authorization === undefined) response.writeHead(401, { "www-authenticate": challenge }).end();
    else return false;
    return true;
  };
  const realm = fc.oneof(
    fc.constant(`${registry.url}/token`),
    fc.constantFrom("", "x", "//h", "ftp://h/", "http://[", "http://169.254.169.254/", "https:///"),
    headerText,
  );
  const part = fc.oneof(
    headerText,
    fc.constantFrom("Basic", "Bearer", ",", "=", '"', "\\"),
    realm.map((text) => `realm="${text}"`),
  );
  const bearer = fc
    .tuple(realm, headerText, headerText)
    .map(([to, service, scope]) => `Bearer realm="${to}",service="${service}",scope="${scope}"`);
  let answered = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        bearer,
        fc.array(part, { maxLength: 6 }).map((parts) => parts.join(" ")),
      ),
      async (text) => {
        challenge = text;
        await using repository = await openRepository(ref, { auth: { username: "u", password: "hunter2" } });
        const [endpoint] = repository.endpoints;
        assert.ok(endpoint);
        try {
          await repository.ask(endpoint, { signal });
          answered++;
        } catch (error) {
          assertSaid(error);
          assert.ok(!String(error).includes("hunter2"));
        }
      },
    ),
    { numRuns: 250 },
  );
  assert.ok(answered > 10, `${answered} were answered`);
});

test("any headers of a blob, or a manifest: the right bytes, or an error", async () => {
  await using registry = await FakeRegistry.start();
  const ref = registry.add("app", "v1", image);
  registry.addBlob(layer);
  let headers: Record<string, string> = {};
  let status = 200;
  registry.intercept = (request, response) => {
    const part = status === 206 ? layer.data.subarray(10) : layer.data;
    response.writeHead(status, headers).end(request.url.includes("/blobs/") ? part : image.manifest.data);
    return true;
  };
  const some = fc.record(
    {
      "content-range": fc.oneof(headerText, fc.constantFrom("bytes 10-999/1000", "bytes 10-999/*", "bytes 10-5/1000", "bytes 0-999/1000")),
      "docker-content-digest": fc.oneof(headerText, fc.constantFrom(image.manifest.digest, layer.digest)),
      "content-type": headerText,
      "retry-after": headerText,
      "ratelimit-remaining": headerText,
      location: headerText,
    },
    { requiredKeys: [] },
  );
  let right = 0;
  // Statuses that are no reason to try again.
  await fc.assert(
    fc.asyncProperty(some, fc.constantFrom(200, 206, 206, 302, 404, 416), fc.boolean(), async (set, code, resume) => {
      headers = set;
      status = code;
      await using repository = await openRepository(ref);
      const sink = new MemorySink(layer.digest, resume ? layer.data.subarray(0, 10) : Buffer.alloc(0));
      try {
        await repository.download(layer, sink, { signal });
        assert.deepEqual(sink.bytes, layer.data);
        right++;
      } catch (error) {
        assertSaid(error);
      }
      try {
        const { digest, body } = await repository.resolve({ signal });
        assert.ok(body === undefined || digest === image.manifest.digest);
      } catch (error) {
        assertSaid(error);
      }
    }),
    { numRuns: 250 },
  );
  assert.ok(right > 10, `${right} were right`);
});
