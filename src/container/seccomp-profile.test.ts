import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { mkfifo } from "../linux/files.ts";
import { readSeccompProfile } from "./seccomp-profile.ts";

const localhost = (localhostRef: string) => readSeccompProfile({ type: "localhost", localhostRef });

test("only a regular file at an absolute path is read", { timeout: 10_000 }, async () => {
  const directory = await mkdtemp(join(tmpdir(), "crid-seccomp-"));
  try {
    const file = join(directory, "profile.json");
    await writeFile(file, "{}");
    assert.equal(await localhost(file), "{}");
    assert.equal(await localhost(`localhost/${file}`), "{}");
    assert.equal(await readSeccompProfile({ type: "runtime-default", localhostRef: "" }), "");
    assert.equal(await readSeccompProfile(undefined), "");
    await assert.rejects(localhost("profile.json"), { kind: "invalid-argument", message: /not an absolute path/ });
    await assert.rejects(localhost(join(directory, "none.json")), { kind: "not-found", message: /none\.json" does not exist/ });
    await assert.rejects(localhost(directory), { kind: "invalid-argument", message: /not a regular file/ });
    mkfifo(join(directory, "fifo"));
    await assert.rejects(localhost(join(directory, "fifo")), { kind: "invalid-argument", message: /not a regular file/ });
    await writeFile(file, Buffer.alloc((4 << 20) + 1));
    await assert.rejects(localhost(file), { kind: "invalid-argument", message: /more than/ });
  } finally {
    await rm(directory, { recursive: true });
  }
});
