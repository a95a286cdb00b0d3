import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { isKind } from "../../base/errors.ts";
import { parseReference } from "../reference.ts";
import { resolveEndpoints } from "./resolve.ts";

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
