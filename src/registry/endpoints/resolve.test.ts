import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { isKind } from "../../base/errors.ts";
import { parseReference } from "../reference.ts";
import { hostFolderNames, readHostFolder } from "./hosts-dir.ts";
import { resolveEndpoints } from "./resolve.ts";
import { rewriteOf } from "./rewrite.ts";

async function folder(t: TestContext, files: Record<string, string>): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), "crid-hosts-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(root, name, ".."), { recursive: true });
    await writeFile(join(root, name), text);
  }
  return root;
}

const none = { configPath: [], mirrors: {} };
const brief = async (ref: string, config: Parameters<typeof resolveEndpoints>[0]): Promise<string[]> =>
  (await resolveEndpoints(config, parseReference(ref))).map(({ url, role, namespace, alternate }) =>
    [url, role, namespace, alternate?.url].filter(Boolean).join(" "),
  );

test("without configuration: the registry itself, by https but on loopback", async () => {
  assert.deepEqual(await brief("busybox", none), ["https://registry-1.docker.io/v2 upstream"]);
  assert.deepEqual(await brief("registry.k8s.io/pause", none), ["https://registry.k8s.io/v2 upstream"]);
  assert.deepEqual(await brief("127.0.0.1:5000/x", none), ["http://127.0.0.1:5000/v2 upstream https://127.0.0.1:5000/v2"]);
  assert.deepEqual(await brief("[::1]:5000/x", none), ["http://[::1]:5000/v2 upstream https://[::1]:5000/v2"]);
  assert.deepEqual(await brief("localhost:80/x", none), ["http://localhost:80/v2 upstream"]);
  assert.deepEqual(await brief("localhost/x", none), ["https://localhost/v2 upstream"]);
  assert.deepEqual(await brief("10.0.0.1:5000/x", none), ["https://10.0.0.1:5000/v2 upstream"]);
});

test("mirrors of the configuration, then the registry; * for those without an entry; fallback: false", async () => {
  const config = {
    configPath: [],
    mirrors: {
      "docker.io": {
        endpoints: [
          "https://m1.example",
          { url: "http://m2.example:5000/hub/", rewrite: { "^library/(.*)": "official/$1" } },
          "registry-1.docker.io",
        ],
      },
      "*": { endpoints: ["https://all.example"], fallback: false },
    },
  };
  assert.deepEqual(await brief("busybox", config), [
    "https://m1.example/v2 mirror docker.io",
    "http://m2.example:5000/hub/v2 mirror docker.io",
    "https://registry-1.docker.io/v2 upstream",
  ]);
  const [plain, rewritten] = await resolveEndpoints(config, parseReference("busybox"));
  assert.equal(plain?.path, "library/busybox");
  assert.equal(rewritten?.path, "official/busybox");
  assert.equal(rewritten?.source, 'registry.mirrors."docker.io".endpoints[1]');
  assert.deepEqual(await brief("quay.io/a/b", config), ["https://all.example/v2 mirror quay.io"]);
});

test("certs.d: host_port_ before host:port before _default; the server last; the file and line are known", async (t) => {
  const root = await folder(t, {
    "reg.example_5000_/hosts.toml": '[host."https://one.example"]\n',
    "reg.example:5000/hosts.toml": '[host."https://two.example"]\n',
    "_default/hosts.toml": 'server = "https://every.example"\n',
    "docker.io/hosts.toml":
      'server = "https://hub.example"\n\n[host."http://local.example:5000"]\n  skip_verify = true\n  capabilities = ["pull"]\n',
  });
  const config = { configPath: [join(root, "missing"), root], mirrors: {} };
  assert.deepEqual(await brief("reg.example:5000/x", config), [
    "https://one.example/v2 mirror reg.example:5000",
    "https://reg.example:5000/v2 upstream",
  ]);
  assert.deepEqual(await brief("quay.io/x", config), ["https://every.example/v2 mirror quay.io"]);
  assert.deepEqual(await brief("busybox", config), [
    "https://local.example:5000/v2 mirror docker.io http://local.example:5000/v2",
    "https://hub.example/v2 upstream docker.io",
  ]);
  const [local] = await resolveEndpoints(config, parseReference("busybox"));
  assert.equal(local?.source, join(root, "docker.io/hosts.toml:3"));
  assert.deepEqual([...(local?.capabilities ?? [])], ["pull"]);
  assert.equal(local?.tls.skipVerify, true);
});

test("the configuration's mirrors come before those of certs.d, and fallback: false keeps both the hosts and the registry out", async (t) => {
  const root = await folder(t, { "docker.io/hosts.toml": '[host."https://toml.example"]\n' });
  const mirrors = (fallback: boolean): object => ({ "docker.io": { endpoints: ["https://yaml.example"], fallback } });
  assert.deepEqual(await brief("busybox", { configPath: [root], mirrors: { ...mirrors(true) } }), [
    "https://yaml.example/v2 mirror docker.io",
    "https://toml.example/v2 mirror docker.io",
    "https://registry-1.docker.io/v2 upstream",
  ]);
  assert.deepEqual(await brief("busybox", { configPath: [root], mirrors: { ...mirrors(false) } }), [
    "https://yaml.example/v2 mirror docker.io",
  ]);
});

test("docker's certificate files where there is no hosts.toml", async (t) => {
  const root = await folder(t, {
    "reg.example/ca.crt": "",
    "reg.example/me.cert": "",
    "reg.example/me.key": "",
    "reg.example/both.cert": "",
  });
  const [endpoint] = await resolveEndpoints({ configPath: [root], mirrors: {} }, parseReference("reg.example/x"));
  const at = (name: string): string => join(root, "reg.example", name);
  assert.deepEqual(endpoint?.tls, {
    ca: [at("ca.crt")],
    client: [{ cert: at("both.cert") }, { cert: at("me.cert"), key: at("me.key") }],
    skipVerify: false,
  });
});

test("mistakes are errors that name the place", async (t) => {
  const root = await folder(t, { "docker.io/hosts.toml": "nonsense" });
  const fails = (config: Parameters<typeof resolveEndpoints>[0], why: RegExp): Promise<void> =>
    assert.rejects(
      resolveEndpoints(config, parseReference("busybox")),
      (error) => isKind(error, "failed-precondition") && why.test(error.message),
    );
  await fails({ configPath: [root], mirrors: {} }, /docker\.io\/hosts\.toml:1/);
  await fails({ configPath: [], mirrors: { "docker.io": { endpoints: ["ftp://x"] } } }, /endpoints\[0\]/);
  await fails({ configPath: [], mirrors: { "docker.io": { endpoints: [], fallback: false } } }, /no endpoints and fallback is false/);
  await fails({ configPath: [], mirrors: { "docker.io": { endpoints: ["https://x"], rewrite: { "(": "" } } } }, /not a regular expression/);
});

/** Hosts as references may name them, and some that are none. */
const host = fc.oneof(
  fc.constantFrom(
    "docker.io",
    "localhost",
    "localhost:5000",
    "[::1]",
    "[::1]:5000",
    "[::::]",
    "[a]:1",
    "h.x:0",
    "h.x:65536",
    "h.x:99999999999",
    "127.1:80",
  ),
  fc.tuple(fc.stringMatching(/^[A-Za-z0-9]{1,5}\.[a-z0-9]{1,5}$/), fc.nat({ max: 70_000 })).map(([name, port]) => `${name}:${port}`),
  fc.stringMatching(/^\[[0-9a-f:]{1,12}\]:[0-9]{1,6}$/),
);

test("any host of a reference has endpoints that can be asked, or is told to be none", async () => {
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(host, async (name) => {
      try {
        for (const { url, alternate } of await resolveEndpoints(none, parseReference(`${name}/team/app:v1`)))
          for (const one of [url, alternate?.url ?? url]) assert.ok(URL.canParse(`${one}/team/app/manifests/v1`), one);
      } catch (error) {
        assert.ok(isKind(error, "invalid-argument"), String(error));
        refused++;
      }
    }),
    { numRuns: 400 },
  );
  assert.ok(refused > 5 && refused < 300, `${refused}`);
});

test("the folders of any host are names of their own, below the root; settings for others are not found", async (t) => {
  const root = await folder(t, { "else.example/hosts.toml": 'server = "https://else.example"' });
  await fc.assert(
    fc.asyncProperty(fc.oneof(host, fc.string({ unit: fc.constantFrom(..."a.:/[]_-\0"), maxLength: 8 })), async (name) => {
      const names = hostFolderNames(name);
      assert.ok(names.length >= 1 && names.at(-1) === name);
      // What is no host does not come so far: a reference is parsed before.
      if (/^[\w.:[\]-]+$/.test(name) && !/^\.*$/.test(name)) {
        assert.ok(
          names.every((one) => !one.includes("/") && one !== ".." && one !== "."),
          names.join(),
        );
        assert.equal(await readHostFolder([root], names), undefined);
      }
    }),
    { numRuns: 300 },
  );
});

test("rewrite rules: the first that matches, once; any rule is one or is refused; any path is rewritten", () => {
  const rewrite = rewriteOf({ "^library/(.*)": "hub/$1", "^team/": "t/", ".*": "never/$&" });
  assert.deepEqual(["library/busybox", "team/team/app", "other"].map(rewrite), ["hub/busybox", "t/team/app", "never/other"]);
  assert.equal(rewriteOf(undefined)("a/b"), "a/b");
  const pattern = fc.oneof(fc.string({ unit: fc.constantFrom(..."ab/.*+?()[]{}|\\^$1"), maxLength: 8 }), fc.string({ maxLength: 6 }));
  const path = fc.stringMatching(/^[a-z0-9]{1,6}(\/[a-z0-9._-]{1,6}){0,3}$/);
  let rules = 0;
  fc.assert(
    fc.property(
      fc.dictionary(pattern, fc.oneof(fc.constantFrom("$1", "$&", "x/$1", "\ud800", "$$", "$<n>"), fc.string())),
      path,
      (some, from) => {
        try {
          const to = rewriteOf(some)(from);
          rules++;
          assert.ok(URL.canParse(`https://r.example/v2/${encodeURI(to.toWellFormed())}/manifests/v1`));
        } catch (error) {
          assert.ok(isKind(error, "failed-precondition"), String(error));
          assert.match(error.message, /rewrite rule ".*": not a regular expression/s);
        }
      },
    ),
    { numRuns: 1000 },
  );
  assert.ok(rules > 100, `${rules} were rules`);
});
