import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { isKind } from "../../base/errors.ts";
import { DockerConfig } from "./docker-config.ts";

const signal = AbortSignal.timeout(60_000);

async function config(t: TestContext, content: unknown): Promise<DockerConfig> {
  const root = await mkdtemp(join(tmpdir(), "crid-docker-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  await writeFile(join(root, "config.json"), typeof content === "string" ? content : JSON.stringify(content));
  return new DockerConfig(join(root, "config.json"));
}

async function helper(t: TestContext, name: string, script: string): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), "crid-helper-"));
  const path = process.env.PATH ?? "";
  process.env.PATH = `${root}:${path}`;
  t.after(async () => {
    process.env.PATH = path;
    await rm(root, { recursive: true, force: true });
  });
  await writeFile(join(root, `docker-credential-${name}`), `#!/bin/sh\n${script}`);
  await chmod(join(root, `docker-credential-${name}`), 0o755);
}

test("auths under any spelling of the host", async (t) => {
  const docker = await config(t, {
    auths: {
      "https://index.docker.io/v1/": { auth: Buffer.from("hub:pw").toString("base64") },
      "reg.example:5000": { username: "u", password: "p" },
      "https://id.example": { identitytoken: "ID" },
    },
  });
  const hub = await docker.find(["docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"], { signal });
  assert.deepEqual(hub?.credentials, { type: "password", username: "hub", password: "pw" });
  assert.deepEqual((await docker.find(["reg.example:5000"], { signal }))?.credentials, { type: "password", username: "u", password: "p" });
  assert.deepEqual((await docker.find(["id.example"], { signal }))?.credentials, { type: "identity", token: "ID" });
  assert.equal(await docker.find(["reg.example"], { signal }), undefined);
});

test("no file is no credentials; a broken one is an error that shows nothing of it", async (t) => {
  assert.equal(await new DockerConfig("").find(["x"], { signal }), undefined);
  assert.equal(await new DockerConfig("/nonexistent/config.json").find(["x"], { signal }), undefined);
  const broken = await config(t, '{"auths": 3, "secret": "hunter2"}');
  await assert.rejects(
    broken.find(["x"], { signal }),
    (error) => isKind(error, "failed-precondition") && !error.message.includes("hunter2"),
  );
});

test("credential helpers: the host on stdin, user and secret on stdout, not found, failing", async (t) => {
  await helper(
    t,
    "test",
    `read host
     case $host in
       good.example) echo '{"ServerURL":"x","Username":"me","Secret":"s3"}';;
       token.example) echo '{"Username":"<token>","Secret":"T"}';;
       none.example) echo "credentials not found in native keychain"; exit 1;;
       odd.example) echo "SECRET not json";;
       huge.example) yes SECRET | head -c 5000000;;
       hang.example) sleep 60;;
       *) echo "locked" >&2; exit 2;;
     esac`,
  );
  const docker = await config(t, {
    credHelpers: {
      "good.example": "test",
      "token.example": "test",
      "none.example": "test",
      "odd.example": "test",
      "huge.example": "test",
      "hang.example": "test",
      "bad.example": "test",
      "gone.example": "absent",
      "evil.example": "../x",
    },
  });
  const find = (host: string): ReturnType<DockerConfig["find"]> => docker.find([host], { signal });
  assert.deepEqual((await find("good.example"))?.credentials, { type: "password", username: "me", password: "s3" });
  assert.match((await find("good.example"))?.source ?? "", /docker-credential-test/);
  assert.deepEqual((await find("token.example"))?.credentials, { type: "identity", token: "T" });
  assert.equal(await find("none.example"), undefined);
  await assert.rejects(find("odd.example"), (error) => isKind(error, "failed-precondition") && !error.message.includes("SECRET"));
  await assert.rejects(find("huge.example"), (error) => isKind(error, "failed-precondition") && error.message.length < 500);
  const going = AbortSignal.timeout(300);
  await assert.rejects(docker.find(["hang.example"], { signal: going }), (error) => error === going.reason);
  await assert.rejects(find("bad.example"), /locked/);
  await assert.rejects(find("gone.example"), /run docker-credential-absent/);
  await assert.rejects(find("evil.example"), /is not a name/);
});

test("any file is read or refused, and shows nothing of itself", async (t) => {
  const text = fc.oneof(
    fc.json(),
    fc.string(),
    fc.constantFrom("null", "[]", '"x"', "{", '{"auths":null}', '{"auths":{"h":{"auth":"%%%"}}}'),
  );
  const entry = fc.record(
    { auth: fc.oneof(fc.string(), fc.base64String()), username: fc.string(), identitytoken: fc.string() },
    { requiredKeys: [] },
  );
  const shaped = fc
    .record({ auths: fc.dictionary(fc.domain(), entry), credHelpers: fc.constant({}) })
    .map((value) => JSON.stringify(value));
  const directory = await mkdtemp(join(tmpdir(), "crid-docker-any-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const file = join(directory, "config.json");
  await fc.assert(
    fc.asyncProperty(fc.oneof(text, shaped), fc.domain(), async (content, host) => {
      await writeFile(file, content);
      try {
        const found = await new DockerConfig(file).find([host, `https://${host}/v1/`], { signal });
        assert.ok(found === undefined || found.source === file);
      } catch (error) {
        assert.ok(isKind(error, "failed-precondition"), String(error));
      }
    }),
    { numRuns: 300 },
  );
});
