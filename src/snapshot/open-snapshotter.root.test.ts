import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "../base/log.ts";
import { kernelAtLeast } from "../linux/kernel.ts";
import { detachAll, mount } from "../linux/mount.ts";
import { openSnapshotter } from "./open-snapshotter.ts";

test("auto takes EROFS where the kernel mounts it from a file, and directories where asked", async () => {
  const root = mkdtempSync(join(tmpdir(), "crid-open-"));
  const open = (choice: "auto" | "overlayfs") => openSnapshotter({ root, mounts: join(root, "mounts"), choice, log: silentLogger() });
  try {
    assert.equal((await open("auto")).name, kernelAtLeast(6, 12) ? "erofs" : "overlayfs");
    assert.equal((await open("overlayfs")).name, "overlayfs");
    assert.deepEqual(readdirSync(root).sort(), ["layers", "removed", "rootfs", "staging"]);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test("auto takes directories on a tmpfs, which the kernel cannot mount an image file from", async () => {
  const root = mkdtempSync(join(tmpdir(), "crid-open-"));
  mount("tmpfs", root, "tmpfs", 0, "size=1m");
  try {
    assert.equal((await openSnapshotter({ root, mounts: join(root, "m"), choice: "auto", log: silentLogger() })).name, "overlayfs");
    await assert.rejects(openSnapshotter({ root, mounts: join(root, "m"), choice: "erofs", log: silentLogger() }), /set it to auto/);
  } finally {
    detachAll(root);
    rmSync(root, { recursive: true, force: true });
  }
});
