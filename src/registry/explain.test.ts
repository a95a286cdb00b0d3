import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isKind } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import { parseReference } from "./reference.ts";
import { Registry } from "./registry.ts";
import { FakeRegistry } from "./testkit/fake-registry.ts";
import { makeTestImage } from "./testkit/test-image.ts";

const signal = AbortSignal.timeout(30_000);

test("says of each endpoint where it comes from, who it is asked as, and what it answers", async (t) => {
  const root = await mkdtemp(join(tmpdir(), "crid-explain-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  const image = await makeTestImage({ layers: [] });
  await using mirror = await FakeRegistry.start();
  await using upstream = await FakeRegistry.start();
  upstream.add("team/app", "v1", image);
  const [, port] = upstream.host.split(":");
  await mkdir(join(root, `127.0.0.1_${port}_`));
  await writeFile(join(root, `127.0.0.1_${port}_`, "hosts.toml"), `# mirrors\n[host."${mirror.url}"]\n  capabilities = ["pull"]\n`);
  const mirrors = { [upstream.host]: { endpoints: [{ url: "http://127.0.0.1:1", auth: { username: "u", password: "hunter2" } }] } };
  await using registry = new Registry({ config: { configPath: [root], mirrors }, progressTimeoutMs: 1000, log: silentLogger(), env: {} });
  const explanation = await registry.explain(`${upstream.host}/team/app:v1`, { signal });
  assert.equal(explanation.reference, `${upstream.host}/team/app:v1`);
  const [dead, empty, own] = explanation.endpoints;
  assert.equal(explanation.endpoints.length, 3);
  assert.equal(dead?.credentials, `registry.mirrors."${upstream.host}".endpoints[0]`);
  assert.ok(dead?.answer.ok === false && /ECONNREFUSED/.test(dead.answer.detail));
  assert.equal(empty?.source, `${join(root, `127.0.0.1_${port}_`, "hosts.toml")}:2`);
  assert.equal(empty?.role, "mirror");
  assert.equal(empty?.namespace, upstream.host);
  assert.ok(empty?.answer.ok === false && /404 Not Found/.test(empty.answer.detail));
  assert.equal(own?.role, "upstream");
  assert.ok(own?.answer.ok === true && own.answer.digest === image.manifest.digest);
  assert.doesNotMatch(JSON.stringify(explanation), /hunter2/);
  await assert.rejects(registry.explain("Not A Reference", { signal }), (error) => isKind(error, "invalid-argument"));
});

test("says which endpoint is asked later for having failed, what a rewrite makes of the path, and that fallback: false leaves the registry out", async () => {
  const image = await makeTestImage({ layers: [] });
  await using mirror = await FakeRegistry.start();
  await using upstream = await FakeRegistry.start();
  mirror.add("cache/team/app", "v1", image);
  const dead = "http://127.0.0.1:1";
  const mirrors = {
    [upstream.host]: {
      endpoints: [dead, mirror.url, { url: `${mirror.url}/other`, rewrite: { "team/(.*)": "$1-x" } }],
      fallback: false,
      rewrite: { "^team/": "cache/team/" },
    },
  };
  await using registry = new Registry({ config: { configPath: [], mirrors }, progressTimeoutMs: 1000, log: silentLogger(), env: {} });
  const explain = async () => (await registry.explain(`${upstream.host}/team/app:v1`, { signal })).endpoints;
  const before = await explain();
  assert.deepEqual(
    before.map(({ url, path, source, penaltyMs }) => [url, path, source, penaltyMs]),
    [
      [`${dead}/v2`, "cache/team/app", `registry.mirrors."${upstream.host}".endpoints[0]`, 0],
      [`${mirror.url}/v2`, "cache/team/app", `registry.mirrors."${upstream.host}".endpoints[1]`, 0],
      [`${mirror.url}/other/v2`, "app-x", `registry.mirrors."${upstream.host}".endpoints[2]`, 0],
    ],
    "a question changes nothing: it puts no endpoint on a penalty",
  );
  assert.deepEqual(
    before.map(({ answer }) => answer.ok),
    [false, true, false],
  );
  const repository = await registry.open(parseReference(`${upstream.host}/team/app:v1`), {});
  assert.equal((await repository.resolve({ signal })).endpoint, `${mirror.url}/v2`);
  const [failed, served] = await explain();
  assert.ok(failed !== undefined && failed.penaltyMs > 10_000 && failed.penaltyMs <= 15_000, `${failed?.penaltyMs}`);
  assert.equal(served?.penaltyMs, 0);
  assert.equal(upstream.requests.length, 0);
});
