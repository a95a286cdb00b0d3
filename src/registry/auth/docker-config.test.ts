import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { isKind } from "../../base/errors.ts";
import { parseCredentials } from "./credentials.ts";
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

test("whatever a helper prints: credentials, none, or an error that is short and shows nothing of what it took for them", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "crid-helper-any-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const said = join(directory, "said");
  await helper(t, "any", `. '${said}.status'; cat '${said}' >&$to; exit $status`);
  const docker = await config(t, { credsStore: "any" });
  const value = fc.oneof(fc.constantFrom<unknown>("", "<token>", "u", "hunter2", null, 1, {}), fc.string());
  const shaped = fc
    .record({ Username: value, Secret: value, ServerURL: value }, { requiredKeys: [] })
    .map((object) => Buffer.from(JSON.stringify(object)));
  const output = fc.oneof(
    { arbitrary: shaped, weight: 3 },
    fc.uint8Array({ maxLength: 30 }),
    fc.constantFrom(Buffer.alloc(100_000, "\u{1f600}"), Buffer.from("credentials not found in x")),
  );
  let found = 0;
  await fc.assert(
    fc.asyncProperty(output, fc.constantFrom(0, 0, 0, 1, 2), fc.constantFrom(1, 1, 1, 2), async (bytes, status, to) => {
      await writeFile(said, bytes);
      await writeFile(`${said}.status`, `status=${status}; to=${to}`);
      try {
        const credentials = (await docker.find(["r.example"], { signal }))?.credentials;
        if (credentials !== undefined) found++;
      } catch (error) {
        assert.ok(isKind(error, "failed-precondition"), String(error));
        assert.ok(error.message.length < 800 && error.message.isWellFormed(), error.message);
        if (status === 0) assert.ok(!error.message.includes("hunter2"));
      }
    }),
    { numRuns: 60 },
  );
  assert.ok(found > 3, `${found} were credentials`);
});

test("credentials as docker and the kubelet write them; any others are told to be none", () => {
  const user = fc.string({ minLength: 1 }).filter((text) => !text.includes(":") && text.isWellFormed());
  const password = fc.string().filter((text) => text.isWellFormed() && !text.includes("\0"));
  fc.assert(
    fc.property(user, password, (username, secret) => {
      const expected = { type: "password", username, password: secret };
      assert.deepEqual(parseCredentials({ auth: Buffer.from(`${username}:${secret}`).toString("base64") }, "x"), expected);
      if (username !== "<token>") assert.deepEqual(parseCredentials({ username, password: secret }, "x"), expected);
    }),
  );
  fc.assert(
    fc.property(
      fc.record({ auth: fc.oneof(fc.string(), fc.base64String()), username: fc.string(), password: fc.string() }, { requiredKeys: [] }),
      (any) => {
        try {
          parseCredentials(any, "here");
        } catch (error) {
          assert.ok(
            isKind(error, "invalid-argument") && error.message === 'registry credentials of here: "auth" is not base64 of user:password',
          );
        }
      },
    ),
  );
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
