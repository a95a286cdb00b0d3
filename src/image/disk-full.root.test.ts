import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { isKind } from "../base/errors.ts";
import { detachAll, mount } from "../linux/mount.ts";
import { FakeRegistry } from "../registry/testkit/fake-registry.ts";
import { makeTestImage } from "../registry/testkit/test-image.ts";
import { startNode } from "./testkit.ts";

const signal = AbortSignal.timeout(60_000);

async function smallDisk(t: TestContext, megabytes: number): Promise<string> {
  const point = await mkdtemp(join(tmpdir(), "crid-full-"));
  mount("tmpfs", point, "tmpfs", 0, `size=${megabytes}m`);
  t.after(async () => {
    detachAll(point);
    await rm(point, { recursive: true, force: true });
  });
  return join(point, "root");
}

const small = await makeTestImage({ layers: [[{ name: "small", content: "x" }]] });

test("a layer's blob does not fit: the pull says so, leaves nothing, and the rest goes on working", async (t) => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode({ root: await smallDisk(t, 24) });
  const kept = await node.images.pull(registry.add("small", "v1", small), { signal });
  const before = await node.left();
  const big = await makeTestImage({
    layers: [[{ name: "a", content: randomBytes(20_000_000) }], [{ name: "b", content: randomBytes(20_000_000) }]],
  });
  await assert.rejects(node.images.pull(registry.add("big", "v1", big), { signal }), (error) => {
    assert.ok(isKind(error, "resource-exhausted"), String(error));
    assert.match(error.message, /^pull .*big:v1: .*(no space left|ENOSPC)/);
    return true;
  });
  assert.deepEqual(await node.left(), before);
  assert.equal(node.images.get(kept.id)?.id, kept.id);
  await node.images.remove(kept.id, { signal });
  await node.images.pull(registry.add("small", "v1", small), { signal });
});

test("a layer does not fit unpacked: the same", async (t) => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode({ root: await smallDisk(t, 24) });
  const before = await node.left();
  // Compresses to nothing, unpacks to more than there is.
  const bomb = await makeTestImage({ layers: [[{ name: "zeros", content: Buffer.alloc(40_000_000, "ab") }]] });
  await assert.rejects(node.images.pull(registry.add("bomb", "v1", bomb), { signal }), (error) => isKind(error, "resource-exhausted"));
  assert.deepEqual(await node.left(), before);
  await node.images.pull(registry.add("small", "v1", small), { signal });
});

test("a layer that unpacks to more than the limit is refused", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode({ images: { unpackLimits: { maxBytes: 1_000_000, maxEntries: 1000 } } });
  const bomb = await makeTestImage({ layers: [[{ name: "zeros", content: Buffer.alloc(2_000_000) }]] });
  const before = await node.left();
  await assert.rejects(node.images.pull(registry.add("bomb", "v1", bomb), { signal }), /1000000|limit/);
  assert.deepEqual(await node.left(), before);
});
