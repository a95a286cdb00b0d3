import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "../base/log.ts";
import { Trash } from "./trash.ts";

const log = silentLogger();

test("what is taken is out of sight at once, counted until it is gone, and waited for", async () => {
  const root = await mkdtemp(join(tmpdir(), "crid-trash-"));
  try {
    const directory = join(root, "removed");
    const trash = await Trash.open({ directory, log });
    await mkdir(join(root, "tree/below"), { recursive: true });
    await writeFile(join(root, "tree/below/file"), "x");
    await writeFile(join(root, "file"), "x");
    await trash.take(join(root, "tree"), { bytes: 10, inodes: 3 });
    assert.deepEqual(trash.pending, { bytes: 10, inodes: 3 });
    await trash.take(join(root, "file"), { bytes: 1, inodes: 1 });
    await trash.take(join(root, "absent"), { bytes: 5, inodes: 5 });
    assert.deepEqual(await readdir(root), ["removed"]);
    await trash.settled({ timeoutMs: 10_000 });
    assert.deepEqual(trash.pending, { bytes: 0, inodes: 0 });
    assert.deepEqual(await readdir(directory), []);
  } finally {
    await rm(root, { recursive: true });
  }
});

test("what a crash has left is removed by the next start", async () => {
  const root = await mkdtemp(join(tmpdir(), "crid-trash-"));
  try {
    await mkdir(join(root, "left/tree"), { recursive: true });
    const trash = await Trash.open({ directory: root, log });
    await trash.settled({ timeoutMs: 10_000 });
    assert.deepEqual(await readdir(root), []);
  } finally {
    await rm(root, { recursive: true });
  }
});

test("a big tree goes by a program, and goes", async () => {
  const root = await mkdtemp(join(tmpdir(), "crid-trash-"));
  try {
    const trash = await Trash.open({ directory: join(root, "removed"), log });
    await mkdir(join(root, "tree/a/b"), { recursive: true });
    await Promise.all(Array.from({ length: 50 }, (_, index) => writeFile(join(root, `tree/a/b/${index}`), "x")));
    await trash.take(join(root, "tree"), { bytes: 1, inodes: 100_000 });
    await trash.settled({ timeoutMs: 10_000 });
    assert.deepEqual(await readdir(join(root, "removed")), []);
  } finally {
    await rm(root, { recursive: true });
  }
});
