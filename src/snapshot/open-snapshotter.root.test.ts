import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "../base/log.ts";
import { kernelAtLeast } from "../linux/kernel.ts";
import { openSnapshotter } from "./open-snapshotter.ts";

test("auto takes EROFS where the kernel mounts it from a file, and directories where asked", async () => {
  const root = mkdtempSync(join(tmpdir(), "crid-open-"));
  const open = (choice: "auto" | "overlayfs") => openSnapshotter({ root, mounts: join(root, "mounts"), choice, log: silentLogger() });
  try {
    assert.equal((await open("auto")).name, kernelAtLeast(6, 12) ? "erofs" : "overlayfs");
    assert.equal((await open("overlayfs")).name, "overlayfs");
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
