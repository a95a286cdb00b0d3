import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { CridError } from "../base/errors.ts";
import { readMountinfo } from "../linux/mountinfo.ts";
import { FakeRegistry } from "../registry/testkit/fake-registry.ts";
import { makeTestImage } from "../registry/testkit/test-image.ts";
import { startNode } from "./testkit.ts";

const signal = AbortSignal.timeout(120_000);
const nothing = { blobs: 0, ingests: 0, leases: 0, layers: 0, staging: 0 };
const image = await makeTestImage({ layers: Array.from({ length: 90 }, (_, n) => [{ name: `file${n}`, content: `${n}` }]) });
const registry = await FakeRegistry.start();
after(() => registry[Symbol.asyncDispose]());
const ref = registry.add("many", "v1", image);

for (const form of ["erofs", "directory"] as const) {
  test(`${form}: an image of so many layers that its mount's options are over a page`, async () => {
    await using node = await startNode({ form });
    const record = await node.images.pull(ref, { signal });
    assert.ok(record.chainIds.length * join(node.root, "mounts", "n".repeat(26), ":").length > 4095);
    const path = await node.images.mountVolume("c-0", record);
    for (const n of [0, 45, 89]) assert.equal(readFileSync(join(path, `file${n}`), "utf8"), `${n}`);
    await assert.rejects(writeFile(join(path, "x"), ""), { code: "EROFS" });
    await node.images.releaseVolume("c-0");
    await node.images.remove(ref, { signal });
    assert.deepEqual(await node.left(), nothing);
  });
}

test("a mount that fails leaves nothing of itself: no mount, no layer that is held, no folder", async () => {
  await using node = await startNode({ form: "erofs" });
  const record = await node.images.pull(ref, { signal });
  const { path } = await node.images.mount(ref);
  await node.images.unmount(ref);
  // Where it would be mounted is a file.
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, "in the way");
  await assert.rejects(node.images.mount(ref), (error) => error instanceof CridError && /mount image volume/.test(error.message));
  assert.deepEqual(
    (await readMountinfo()).filter(({ mountPoint }) => mountPoint.startsWith(`${node.root}/`)),
    [],
  );
  assert.deepEqual(await readdir(join(node.root, "snapshots/rootfs")), []);
  await rm(path);
  assert.equal((await node.images.mount(ref)).path, path);
  await node.images.unmount(ref);
  await node.images.remove(record.id, { signal });
  assert.deepEqual(await node.left(), nothing);
});
