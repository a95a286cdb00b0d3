import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

const main = join(import.meta.dirname, "../main.ts");
const directory = mkdtempSync(join(tmpdir(), "crid-cli-"));
after(() => rmSync(directory, { recursive: true }));

function crid(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}

test("usage, version, help of one command", () => {
  assert.match(crid("--help").stdout, /crid serve \[--config FILE\]/);
  assert.equal(crid("--help").status, 0);
  assert.equal(crid().status, 1);
  assert.match(crid("version").stdout, /^crid \d+\.\d+\.\d+\n$/);
  assert.equal(crid("--version").stdout, crid("version").stdout);
  assert.match(crid("serve", "--help").stdout, /SIGTERM/);
});

test("a wrong call is one line and exit code 1", () => {
  for (const args of [["nonsense"], ["serve", "--nonsense"], ["config", "nonsense"], ["logger"], ["serve", "--config", "/nonexistent"]]) {
    const { status, stderr } = crid(...args);
    assert.equal(status, 1, args.join(" "));
    assert.match(stderr, /^crid: [^\n]+\n$/, args.join(" "));
  }
});

test("config: default and dump are configurations, check tells what is wrong", () => {
  const file = join(directory, "config.yaml");
  writeFileSync(file, crid("config", "default").stdout);
  assert.deepEqual(crid("config", "check", "--config", file), { status: 0, stdout: "the configuration is fine\n", stderr: "" });
  const dumped = crid("config", "dump", "--config", file).stdout;
  assert.match(dumped, /^root: \/var\/lib\/crid$/m);
  writeFileSync(file, dumped);
  assert.equal(crid("config", "check", "--config", file).status, 0);
  writeFileSync(file, "rot: /x\n");
  const bad = crid("config", "check", "--config", file);
  assert.equal(bad.status, 1);
  assert.match(bad.stderr, /rot: unknown key; did you mean root\?/);
});

test("ending a logger that does not run is fine", () => {
  assert.deepEqual(crid("logger", "--stop", "--state", directory), { status: 0, stdout: "", stderr: "" });
});
