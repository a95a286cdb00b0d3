import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { isKind } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import { parseReference } from "../registry/reference.ts";
import { ImageVerifiers, type VerifierOptions } from "./verifier.ts";

const digest = `sha256:${"a".repeat(64)}`;
const descriptor = { mediaType: "application/vnd.oci.image.index.v1+json", digest, size: 7 };
const ref = parseReference("registry.example/team/app:v1");

async function verifiers(t: TestContext, programs: Record<string, string>, options: Partial<VerifierOptions> = {}) {
  const dir = await mkdtemp(join(tmpdir(), "crid-verifier-"));
  t.after(() => rm(dir, { recursive: true }));
  for (const [name, body] of Object.entries(programs)) {
    await writeFile(join(dir, name), `#!/bin/sh\n${body}\n`);
    await chmod(join(dir, name), 0o755);
  }
  const all = new ImageVerifiers({ dir, timeoutMs: 5_000, maxVerifiers: 10, policies: {}, log: silentLogger(), ...options });
  return { dir, ask: (signal = AbortSignal.timeout(20_000)) => all.verify(ref, descriptor, { signal }) };
}

test("is called as containerd calls it", async (t) => {
  const { dir, ask } = await verifiers(t, {
    check: 'd=$(dirname "$0"); echo "$@" >"/tmp/args.$$"; cat >"/tmp/in.$$"; mv /tmp/args.$$ "$d/args"; mv /tmp/in.$$ "$d/in"',
  });
  await ask();
  assert.equal(
    await readFile(join(dir, "args"), "utf8"),
    `-name registry.example/team/app:v1 -digest ${digest} -stdin-media-type application/vnd.oci.descriptor.v1+json\n`,
  );
  assert.deepEqual(JSON.parse(await readFile(join(dir, "in"), "utf8")), descriptor);
});

test("the first that refuses refuses, with its reason; the others are not asked", async (t) => {
  const { dir, ask } = await verifiers(t, { a: "echo fine", b: "echo not signed; exit 3", c: 'touch "$(dirname "$0")/asked"' });
  await assert.rejects(ask(), {
    kind: "permission-denied",
    message: `verify image: verifier b rejected registry.example/team/app:v1@${digest} (exit code 3): not signed`,
  });
  await assert.rejects(readFile(join(dir, "asked")));
});

test("one that hangs, or cannot be run, refuses; its children die with it", async (t) => {
  const { ask } = await verifiers(t, { slow: "sleep 60 & sleep 60" }, { timeoutMs: 200 });
  await assert.rejects(ask(), { kind: "deadline-exceeded", message: /verifier slow: run slow: no answer after 200 ms/ });
  const broken = await verifiers(t, {});
  await writeFile(join(broken.dir, "plain"), "not a program", { mode: 0o644 });
  await assert.rejects(broken.ask(), { kind: "failed-precondition", message: /verifier plain: / });
});

test("policies by registry: off, warn, and enforce that must have a verifier", async (t) => {
  const no = { no: "exit 1" };
  await assert.rejects((await verifiers(t, no)).ask(), { kind: "permission-denied" });
  await (await verifiers(t, no, { policies: { "registry.example": "off" } })).ask();
  await (await verifiers(t, no, { policies: { "*": "warn" } })).ask();
  await assert.rejects((await verifiers(t, no, { policies: { "*": "off", "registry.example": "enforce" } })).ask(), {
    kind: "permission-denied",
  });
  await (await verifiers(t, {})).ask();
  await (await verifiers(t, {}, { dir: "/nonexistent/verifiers" })).ask();
  await assert.rejects((await verifiers(t, {}, { dir: "/nonexistent/verifiers", policies: { "*": "enforce" } })).ask(), {
    kind: "failed-precondition",
    message: /no verifier in \/nonexistent\/verifiers/,
  });
});

test("not more are asked than maxVerifiers; the caller's abort ends one", async (t) => {
  const { ask } = await verifiers(t, { a: "exit 0", b: "exit 1" }, { maxVerifiers: 1 });
  await ask();
  const hanging = await verifiers(t, { a: "exec sleep 60" });
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error("gone")), 100);
  await assert.rejects(hanging.ask(controller.signal), /gone/);
});

test("whatever one prints, and however it ends: allowed by exit code 0 alone, and the reason is what it said", async (t) => {
  const { dir, ask } = await verifiers(t, {});
  const said = join(dir, "../", `${dir.slice(dir.lastIndexOf("/") + 1)}-said`);
  t.after(() => rm(said, { force: true }));
  const output = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.constantFrom(Buffer.alloc(0), Buffer.alloc(200_000, "\u{1f600}"), Buffer.from('{"ok":true}'), Buffer.alloc(40, "\0")),
  );
  await fc.assert(
    fc.asyncProperty(
      output,
      fc.constantFrom("exit 0", "exit 1", "exit 255", "kill -9 $$", "kill -15 $$"),
      fc.boolean(),
      async (bytes, end, reads) => {
        await writeFile(said, bytes);
        await writeFile(join(dir, "any"), `#!/bin/sh\n${reads ? "cat >/dev/null; " : ""}cat '${said}'; cat '${said}' >&2; ${end}\n`);
        await chmod(join(dir, "any"), 0o755);
        const failed = await ask().then(
          () => undefined,
          (error: unknown) => error,
        );
        assert.equal(failed === undefined, end === "exit 0", String(failed).slice(0, 300));
        if (failed === undefined) return;
        assert.ok(isKind(failed, "permission-denied"), String(failed).slice(0, 300));
        assert.match(
          failed.message,
          /^verify image: verifier any rejected registry\.example\/team\/app:v1@sha256:a{64} \((exit code \d+|ended by \w+)\): /,
        );
        assert.ok(failed.message.length < 40_000);
      },
    ),
    { numRuns: 40 },
  );
});
