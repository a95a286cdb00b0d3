import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

const crid = join(import.meta.dirname, "../../dist/bin/crid");
let directory = "";

before(() => {
  directory = mkdtempSync(join(tmpdir(), "crid-config-"));
});
after(() => rmSync(directory, { recursive: true }));

function run(args: string[], env: NodeJS.ProcessEnv = {}): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(crid, args, { env: { ...process.env, ...env }, timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === "number" ? error.code : error === null ? 0 : -1, stdout, stderr });
    });
  });
}

const file = (name: string, text: string): string => {
  writeFileSync(join(directory, name), text);
  return join(directory, name);
};

test("default is a configuration that check takes, and dump shows what is set", async () => {
  const defaults = await run(["config", "default"]);
  assert.equal(defaults.code, 0);
  const whole = file("default.yaml", defaults.stdout);
  assert.deepEqual(await run(["config", "check", "--config", whole]), { code: 0, stdout: "the configuration is fine\n", stderr: "" });
  const dump = await run(["config", "dump", "--config", file("one.yaml", "root: /srv/crid\nlog: { level: warn }\n")]);
  assert.equal(dump.code, 0);
  assert.match(dump.stdout, /^root: "?\/srv\/crid"?$/m);
  assert.match(dump.stdout, /level: "?warn"?/);
});

test("an unknown key: its path and the nearest known one, from check and from serve, in one line", async () => {
  const wrong = file("wrong.yaml", "image:\n  maxConcurentDownloads: 3\n");
  for (const args of [
    ["config", "check", "--config", wrong],
    ["serve", "--config", wrong],
  ]) {
    const { code, stderr } = await run(args);
    assert.equal(code, 1);
    assert.match(stderr, /image\.maxConcurentDownloads.*maxConcurrentDownloads/);
    assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
  }
  const { code, stderr } = await run([
    "config",
    "check",
    "--config",
    file("value.yaml", "streaming: { idleTimeout: soon }\noomScore: 5000\n"),
  ]);
  assert.equal(code, 1);
  assert.match(stderr, /streaming\.idleTimeout/);
  assert.match(stderr, /oomScore/);
});

test("a configuration or socket that cannot be: exit code 1 and why", async () => {
  const missing = await run(["serve", "--config", join(directory, "none.yaml")]);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /none\.yaml/);
  mkdirSync(join(directory, "socket"));
  const config = {
    root: join(directory, "r"),
    state: join(directory, "s"),
    grpc: { address: join(directory, "socket") },
    metrics: { address: "" },
    nri: { enabled: false },
  };
  const busy = await run(["serve", "--config", file("busy.yaml", JSON.stringify(config))]);
  assert.equal(busy.code, 1);
  assert.match(busy.stderr, /not a socket/);
});
