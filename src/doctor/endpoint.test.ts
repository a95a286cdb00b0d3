import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { checkCrictl, checkOtherRuntimes, checkSocket } from "./endpoint.ts";

const directory = mkdtempSync(join(tmpdir(), "crid-doctor-"));
after(() => rmSync(directory, { recursive: true }));

test("a socket that answers, one that is left over, none", async () => {
  const path = join(directory, "crid.sock");
  assert.match((await checkSocket(path)).message, /is not there/);
  const server = createServer().listen(path);
  await new Promise((resolve) => server.once("listening", resolve));
  assert.equal((await checkSocket(path)).verdict, "ok");
  await new Promise((resolve) => server.close(resolve));
  writeFileSync(path, "");
  const left = await checkSocket(path);
  assert.equal(left.verdict, "failure");
  assert.match(left.message, /nobody serves it/);
  assert.match(left.fix ?? "", /systemctl enable --now crid/);
});

test("other runtimes are named", () => {
  assert.deepEqual(
    checkOtherRuntimes("/run/crid/crid.sock", () => false),
    [],
  );
  const [found] = checkOtherRuntimes("/run/crid/crid.sock", (path) => path.includes("containerd"));
  assert.match(found?.fix ?? "", /--cri-socket unix:\/\/\/run\/crid\/crid\.sock/);
});

test("crictl's configuration must lead to crid", () => {
  const file = join(directory, "crictl.yaml");
  const verdict = (): string => checkCrictl(file, "/run/crid/crid.sock").verdict;
  assert.match(checkCrictl(file, "/run/crid/crid.sock").message, /there is no/);
  writeFileSync(file, "runtime-endpoint: unix:///run/crid/crid.sock\ntimeout: 10\n");
  assert.equal(verdict(), "ok");
  writeFileSync(file, "runtime-endpoint: unix:///run/containerd/containerd.sock\n");
  assert.equal(verdict(), "warning");
  writeFileSync(file, "runtime-endpoint: [\n");
  assert.equal(verdict(), "warning");
});
