import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { configSchema } from "../config/schema.ts";
import { checkPause, checkRuntimes } from "./runtimes.ts";

const directory = mkdtempSync(join(tmpdir(), "crid-doctor-"));
after(() => rmSync(directory, { recursive: true }));

function script(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  return path;
}

const shim = script("shim", 'printf "shim:\\n  Version:  v2.4.2\\n"');

async function check(binary: string, options: { default?: string; shim?: string } = {}): Promise<{ verdict: string; message: string }> {
  const { runtime } = configSchema.parse({ runtime: { handlers: { x: { shim: options.shim ?? shim, binary } } } });
  const settings = {
    handlers: runtime.handlers,
    defaultHandler: options.default ?? "x",
    runtimeRoot: "/nonexistent",
    cgroupDriver: "cgroupfs",
  } as const;
  const [found] = await checkRuntimes(settings, { signal: AbortSignal.timeout(20_000) });
  assert.ok(found);
  return found;
}

test("a handler is told with the versions of its binaries", async () => {
  const runc = script(
    "runc",
    'case $1 in --version) echo "runc version 1.5.2";; features) echo "{\\"linux\\":{\\"seccomp\\":{\\"enabled\\":true}}}";; esac',
  );
  const found = await check(runc);
  assert.equal(found.verdict, "ok");
  assert.match(found.message, /runc version 1\.5\.2.*v2\.4\.2/);
});

test("missing and broken binaries: a failure for the default handler, a warning for others", async () => {
  assert.equal((await check(join(directory, "none"))).verdict, "failure");
  assert.equal((await check(join(directory, "none"), { default: "other" })).verdict, "warning");
  assert.equal((await check(script("broken", "echo no >&2; exit 3"))).verdict, "failure");
  assert.match((await check(script("broken", "echo no >&2; exit 3"))).message, /exit status 3: no/);
});

test("a runtime without seccomp, and one without the command features", async () => {
  const without = script(
    "without",
    'case $1 in --version) echo x 1;; features) echo "{\\"linux\\":{\\"seccomp\\":{\\"enabled\\":false}}}";; esac',
  );
  assert.match((await check(without)).message, /without seccomp/);
  assert.equal((await check(script("old", "case $1 in --version) echo old 1;; *) exit 1;; esac"))).verdict, "ok");
});

test("the built-in pause", () => {
  assert.equal(checkPause(join(directory, "nothing"))[0]?.verdict, "failure");
});
