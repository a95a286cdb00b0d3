import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

const main = join(import.meta.dirname, "../main.ts");
const directory = mkdtempSync(join(tmpdir(), "crid-cli-doctor-"));
after(() => rmSync(directory, { recursive: true }));

function doctor(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, "doctor", ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}

const config = join(directory, "config.yaml");
const socket = join(directory, "state/crid.sock");

test("a node without a running crid: failures with what to type, and exit code 1", () => {
  writeFileSync(config, `root: ${directory}/root\nstate: ${directory}/state\n`);
  const { status, stdout, stderr } = doctor("--config", config, "--crictl-config", join(directory, "none.yaml"));
  assert.equal(stderr, "");
  assert.equal(status, 1);
  assert.match(stdout, /^FAIL {2}CRI socket: .*crid\.sock: is not there/m);
  assert.match(stdout, /^ {8}systemctl enable --now crid$/m);
  assert.match(stdout, /^warn {2}crictl: there is no .*none\.yaml/m);
  assert.match(stdout, /^\d+ ok, \d+ warnings, \d+ failures\n$/m);
});

test("--json says the same for programs; a registry is asked only when named", () => {
  const { status, stdout } = doctor("--json", "--config", config, "--registry", "127.0.0.1:1/none:1");
  assert.equal(status, 1);
  const answer = JSON.parse(stdout) as { ok: boolean; findings: { subject: string; verdict: string; message: string; fix?: string }[] };
  assert.equal(answer.ok, false);
  const socketFinding = answer.findings.find(({ subject }) => subject === "CRI socket");
  assert.equal(socketFinding?.verdict, "failure");
  assert.ok(socketFinding?.message.includes(socket));
  const registry = answer.findings.find(({ subject }) => subject === "registry of 127.0.0.1:1/none:1");
  assert.match(registry?.message ?? "", /ECONNREFUSED/);
  for (const { verdict, fix, subject } of answer.findings) assert.equal(verdict === "ok", fix === undefined, subject);
});

test("a configuration that cannot be used is a finding, and the rest is looked at all the same", () => {
  writeFileSync(join(directory, "bad.yaml"), "rot: /x\n");
  const { status, stdout } = doctor("--config", join(directory, "bad.yaml"));
  assert.equal(status, 1);
  assert.match(stdout, /^FAIL {2}configuration: .*rot: unknown key; did you mean root\?/m);
  assert.match(stdout, /^ok {4}kernel: /m);
});
