import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import fc from "fast-check";
import { isKind } from "../base/errors.ts";
import { checkConfig, loadConfig } from "./load.ts";
import { defaultConfigYaml, dumpConfig } from "./print.ts";
import { formatDuration, formatSize, parseDuration, parseSize } from "./quantities.ts";
import { withoutSecrets } from "./registry-schema.ts";

let dir = "";
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "crid-config-"));
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const file = path.join(dir, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
  return file;
}

test("an empty file gives the defaults", () => {
  const config = loadConfig({ file: write("c.yaml", "# nothing\n") });
  assert.equal(config.root, "/var/lib/crid");
  assert.equal(config.grpc.address, "/run/crid/crid.sock");
  assert.equal(config.streaming.idleTimeout, 4 * 3_600_000);
  assert.equal(config.container.maxLogLineSize, 16_384);
  assert.deepEqual(config.cni, { binDirs: ["/opt/cni/bin"], confDir: "/etc/cni/net.d", gc: false });
  assert.equal(config.runtime.handlers.runc?.shim, "containerd-shim-runc-v2");
});

test("drop-ins merge in the order of their names; runc stays beside an added handler", () => {
  const file = write("c.yaml", "state: /run/other\nlog: { level: warn }\nsandbox:\n");
  write("conf.d/20-b.yaml", "runtime: { default: crun }\nlog: { level: error }");
  write("conf.d/10-a.yaml", "runtime: { handlers: { crun: { binary: crun } } }\nlog: { level: debug, format: text }");
  write("conf.d/ignored.txt", "x");
  const config = loadConfig({ file, dropInDir: path.join(dir, "conf.d") });
  assert.deepEqual(config.log, { level: "error", format: "text" });
  assert.deepEqual(Object.keys(config.runtime.handlers), ["runc", "crun"]);
  assert.equal(config.grpc.address, "/run/other/crid.sock", "follows state");
});

test("an unknown key is named with its file, its path and the nearest known key", () => {
  const file = write(
    "c.yaml",
    "image: { snaphotter: auto }\nmaxConcurrentDownloads: 3\nruntime: { handlers: { crun: { Binary: x } } }\n__proto__: 1\n",
  );
  const problems = checkConfig({ file });
  assert.ok(problems.includes(`${file}: image.snaphotter: unknown key; did you mean image.snapshotter?`), problems.join("\n"));
  assert.ok(
    problems.includes(`${file}: maxConcurrentDownloads: unknown key; did you mean image.maxConcurrentDownloads?`),
    problems.join("\n"),
  );
  assert.ok(
    problems.includes(`${file}: runtime.handlers.crun.Binary: unknown key; did you mean runtime.handlers.crun.binary?`),
    problems.join("\n"),
  );
  assert.ok(
    problems.some((problem) => problem.includes("__proto__: unknown key")),
    problems.join("\n"),
  );
  assert.throws(
    () => loadConfig({ file }),
    (error) => isKind(error, "invalid-argument"),
  );
});

test("bad values are named with what they should be", () => {
  const file = write(
    "c.yaml",
    "streaming: { idleTimeout: 5 minutes, port: 70000 }\ncontainer: { maxLogLineSize: 16kb }\nroot: var\ncgroupDriver: v2\nimage: { pullProgressTimeout: 300 }",
  );
  const problems = checkConfig({ file }).join("\n");
  assert.match(problems, /streaming\.idleTimeout: "5 minutes" is no duration; write it as 30s/);
  assert.match(problems, /container\.maxLogLineSize: "16kb" is no size/);
  assert.match(problems, /root: must be an absolute path/);
  assert.match(problems, /cgroupDriver: expected one of/);
  assert.match(problems, /streaming\.port: /);
  assert.match(problems, /image\.pullProgressTimeout: expected string/);
});

test("contradictions, broken YAML and missing files are named", () => {
  assert.match(checkConfig({ file: write("a.yaml", "runtime: { default: kata }") }).join(), /no handler "kata"/);
  assert.match(checkConfig({ file: write("b.yaml", "a: [") }).join(), /b\.yaml/);
  assert.match(checkConfig({ file: write("d.yaml", "- 1") }).join(), /must be a mapping/);
  assert.match(checkConfig({ file: path.join(dir, "none.yaml") }).join(), /none\.yaml/);
});

test("the dump loads back to the same configuration", () => {
  const config = loadConfig({
    file: write("c.yaml", "streaming: { idleTimeout: 1h30m }\nregistry: { mirrors: { docker.io: { endpoints: ['https://m.example'] } } }"),
  });
  assert.deepEqual(loadConfig({ file: write("dump.yaml", dumpConfig(config)) }), config);
});

test("the printed default is the default, as it is and with every # taken off a key", () => {
  const text = defaultConfigYaml();
  const defaults = loadConfig({ file: write("a.yaml", "") });
  assert.deepEqual(loadConfig({ file: write("b.yaml", text) }), defaults);
  assert.match(text, /# maxLogLineSize: 16Ki/);
  const live = text.replaceAll(/^(\s*)# (\w+:(?: .*)?)$/gm, (line: string, indent: string, rest: string) =>
    /^(?:tls|cert|key|clientCA|SystemdCgroup|Sizes|Durations):/.test(rest) ? line : indent + rest,
  );
  assert.deepEqual(checkConfig({ file: write("c.yaml", live.replaceAll("# <name>:", "x:")) }), []);
});

test("limits of processes: two numbers, one, or none", () => {
  const { container } = loadConfig({
    file: write("l.yaml", 'container: { rlimits: { nofile: "1024:524288", nproc: 100, memlock: unlimited } }'),
  });
  assert.deepEqual(container.rlimits, {
    nofile: { soft: 1024, hard: 524_288 },
    nproc: { soft: 100, hard: 100 },
    memlock: { soft: Number.MAX_SAFE_INTEGER, hard: Number.MAX_SAFE_INTEGER },
  });
  const problems = (value: string): string => checkConfig({ file: write("m.yaml", `container: { rlimits: { ${value} } }`) }).join();
  assert.match(problems('nofile: "2:1"'), /container\.rlimits\.nofile: "2:1" is no limit; write it as 1024/);
  assert.match(problems("nofile: -1"), /rlimits\.nofile/);
  assert.match(problems("files: 1"), /rlimits.*files/);
});

test("durations and sizes survive the way to text and back", () => {
  fc.assert(fc.property(fc.nat(), (ms) => assert.equal(parseDuration(formatDuration(ms)), ms)));
  fc.assert(fc.property(fc.nat(), (bytes) => assert.equal(parseSize(formatSize(bytes)), bytes)));
  fc.assert(fc.property(fc.string(), (text) => void parseDuration(text)));
  for (const bad of ["", "5", "-1s", "1d", "m", "1 m"]) assert.equal(parseDuration(bad), undefined);
  for (const bad of ["", "-1", "1K", "1.5Gi", "99999999999Gi"]) assert.equal(parseSize(bad), undefined);
});

test("registry: mirrors as URLs and as objects, credentials, and what is wrong with them is said of the right key", () => {
  const text = `registry:
  dockerConfig: /etc/crid/docker.json
  auths: { "registry.example": { username: u, password: hunter2 } }
  mirrors:
    "*":
      rewrite: { "^library/(.*)": "hub/$1" }
      endpoints:
        - https://plain.example
        - { url: "http://full.example:5000", dialTimeout: 2s, skipVerify: true, auth: { identityToken: hunter2 }, headers: { x-key: hunter2 } }
`;
  const { registry } = loadConfig({ file: write("mirrors.yaml", text) });
  assert.deepEqual(registry.mirrors["*"]?.endpoints[0], "https://plain.example");
  assert.deepEqual(registry.mirrors["*"]?.endpoints[1], {
    url: "http://full.example:5000",
    dialTimeout: 2000,
    skipVerify: true,
    auth: { identityToken: "hunter2" },
    headers: { "x-key": "hunter2" },
  });
  assert.equal(registry.maxManifestSize, 4 * 1024 * 1024);
  assert.doesNotMatch(JSON.stringify(withoutSecrets(registry)), /hunter2/);
  assert.match(JSON.stringify(withoutSecrets(registry)), /full\.example/);
  const problems = (endpoint: string): string[] =>
    checkConfig({ file: write("wrong.yaml", `registry: { mirrors: { docker.io: { endpoints: [${endpoint}] } } }`) });
  assert.match(problems("'not a url'").join(), /registry\.mirrors\.docker\.io\.endpoints\.0: .*URL/);
  assert.match(problems("{ url: 'https://x', skipverify: true }").join(), /endpoints\.0\.skipverify: unknown key/);
  assert.match(problems("{ url: 'https://x', dialTimeout: soon }").join(), /endpoints\.0\.dialTimeout: .*"soon" is no duration/);
  assert.match(problems("{ url: 'https://x', ca: [relative] }").join(), /endpoints\.0\.ca\.0: must be an absolute path/);
});
