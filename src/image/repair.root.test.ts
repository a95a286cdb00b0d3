import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "../base/log.ts";
import { readMountinfo } from "../linux/mountinfo.ts";
import { FakeRegistry } from "../registry/testkit/fake-registry.ts";
import { makeTestImage } from "../registry/testkit/test-image.ts";
import { layerDirectory } from "../snapshot/layer-name.ts";
import { Store } from "../store/store.ts";
import type { Repair } from "./repair.ts";
import { type ImageNode, startNode } from "./testkit.ts";

const signal = AbortSignal.timeout(120_000);
const image = await makeTestImage({ layers: [[{ name: "etc/", type: "directory" }], [{ name: "etc/app", content: "app" }]] });
const other = await makeTestImage({ layers: [[{ name: "other", content: "x" }]] });

async function repair(node: ImageNode): Promise<Repair[]> {
  const faults = await node.images.check({ signal });
  const repairs: Repair[] = [];
  for await (const one of node.images.repair(faults, { signal })) repairs.push(one);
  return repairs;
}

function blobFile(node: ImageNode, index: number): string {
  return node.content.path(image.layers[index]?.digest ?? "");
}

function layerPath(node: ImageNode, index: number, file: string): string {
  const chainId = node.images.get(image.config.digest)?.chainIds[index] ?? "";
  return join(node.root, "snapshots/layers", layerDirectory(chainId), file);
}

test("blobs: missing and damaged ones are told, and fetched again from the registry", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const ref = registry.add("app", "v1", image);
  await node.images.pull(ref, { signal });
  const seen: number[] = [];
  assert.deepEqual(await node.images.check({ onProgress: ({ done, total }) => seen.push(done, total), signal }), []);
  assert.deepEqual(seen.slice(-2), [6, 6]);
  await rm(blobFile(node, 0));
  await writeFile(blobFile(node, 1), Buffer.alloc(image.layers[1]?.size ?? 0));
  await writeFile(node.content.path(image.config.digest), "{}");
  const kinds = (await node.images.check({ signal })).map(({ kind, name }) => [kind, name]);
  assert.deepEqual(
    kinds.sort(),
    [
      ["blob-damaged", image.config.digest],
      ["blob-damaged", image.layers[1]?.digest],
      ["blob-missing", image.layers[0]?.digest],
    ].sort(),
  );
  // The tag has moved: the image that is here is the one that is mended.
  registry.add("app", "v1", other);
  assert.deepEqual(await repair(node), [{ imageId: image.config.digest, repoTags: [ref], outcome: "repaired", detail: "" }]);
  assert.deepEqual(await node.images.check({ signal }), []);
  assert.deepEqual(node.images.get(ref)?.id, image.config.digest);
});

test("without the registry a usable image stays, without its archives", async () => {
  await using node = await startNode();
  {
    await using registry = await FakeRegistry.start();
    await node.images.pull(registry.add("app", "v1", image), { signal });
  }
  await rm(blobFile(node, 0));
  const [done, ...more] = await repair(node);
  assert.deepEqual(more, []);
  assert.equal(done?.outcome, "archives-dropped");
  assert.match(done?.detail ?? "", /ECONNREFUSED/);
  assert.deepEqual(await node.images.check({ signal }), []);
  assert.ok(node.images.get(image.config.digest) !== undefined);
});

for (const form of ["directory", "erofs"] as const) {
  test(`layers, ${form}: made again out of the blobs, without the registry`, async () => {
    await using node = await startNode({ form });
    {
      await using registry = await FakeRegistry.start();
      await node.images.pull(registry.add("app", "v1", image), { signal });
    }
    const file = layerPath(node, 1, form === "erofs" ? "layer.erofs" : "fs");
    if (form === "erofs") await truncate(file, 4096);
    else await rm(file, { recursive: true });
    const faults = await node.images.check({ signal });
    assert.deepEqual(
      faults.map(({ kind }) => kind),
      ["layer-damaged"],
    );
    assert.match(faults[0]?.detail ?? "", form === "erofs" ? /has 4096 bytes instead of/ : /is missing/);
    const record = node.images.get(image.config.digest);
    assert.ok(record !== undefined);
    assert.equal((await repair(node))[0]?.outcome, "repaired");
    assert.deepEqual(await node.images.check({ signal }), []);
    assert.deepEqual(node.images.get(record.id), record);
    const { path } = await node.images.mount(record.id);
    assert.equal(await readFile(join(path, "etc/app"), "utf8"), "app");
    await node.images.unmount(record.id);
  });
}

test("a damaged layer under a container is left alone; once it is free it is mended", async () => {
  await using node = await startNode();
  await using registry = await FakeRegistry.start();
  const record = await node.images.pull(registry.add("app", "v1", image), { signal });
  await node.images.rootfs("container1", record);
  await rm(layerPath(node, 1, "fs"), { recursive: true });
  const [first] = await repair(node);
  assert.equal(first?.outcome, "in-use");
  assert.match(first?.detail ?? "", /container1 runs on a damaged layer/);
  await node.images.releaseRootfs("container1");
  assert.equal((await repair(node))[0]?.outcome, "repaired");
});

test("an image that cannot be mended is dropped, and nothing of it stays", async () => {
  await using node = await startNode();
  {
    await using registry = await FakeRegistry.start();
    await node.images.pull(registry.add("app", "v1", image), { signal });
  }
  await rm(blobFile(node, 1));
  await rm(layerPath(node, 1, "fs"), { recursive: true });
  assert.equal((await repair(node))[0]?.outcome, "dropped");
  assert.deepEqual(node.images.list(), []);
  assert.equal((await node.left()).blobs, 0);
});

test("the database is lost: the next start takes the records over from their copies", async () => {
  await using registry = await FakeRegistry.start();
  let node = await startNode();
  const refs = [registry.add("app", "v1", image), registry.add("other", "v1", other)];
  for (const ref of refs) await node.images.pull(ref, { signal });
  const before = node.images.list();
  node = await node.restart({}, () => loseDatabase(node.root));
  const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1);
  assert.deepEqual(node.images.list().sort(byId), before.sort(byId));
  await node[Symbol.asyncDispose]();
});

test("a part of the database is lost: what it has counts, the rest is taken over", async () => {
  await using registry = await FakeRegistry.start();
  let node = await startNode();
  const [ref = "", otherRef = ""] = [registry.add("app", "v1", image), registry.add("other", "v1", other)];
  const record = await node.images.pull(ref, { signal });
  await node.images.pull(otherRef, { signal });
  node = await node.restart({}, async () => {
    using store = Store.open({ path: join(node.root, "meta.db"), lockPath: join(node.root, "lock"), log: silentLogger() });
    store.images.delete(record.id);
    const kept = store.images.all()[0];
    if (kept !== undefined) store.images.put({ ...kept, repoTags: [...kept.repoTags, ref] });
  });
  assert.deepEqual(node.images.get(record.id)?.repoTags, []);
  assert.equal(node.images.get(ref)?.id, other.config.digest);
  await node[Symbol.asyncDispose]();
});

test("rebuild: out of the blobs alone when copies and layers are lost too", async () => {
  await using registry = await FakeRegistry.start();
  let node = await startNode();
  await node.images.pull(registry.add("app", "v1", image), { signal });
  await node.images.pull(registry.add("other", "v1", other), { signal });
  const otherFile = node.content.path(other.layers[0]?.digest ?? "");
  node = await node.restart(
    {},
    async () => {
      await loseDatabase(node.root);
      await rm(join(node.root, "content/images"), { recursive: true });
      await rm(join(node.root, "snapshots"), { recursive: true });
      await writeFile(otherFile, "damaged");
    },
    { start: false },
  );
  const { restored, skipped } = await node.images.rebuild({ signal });
  assert.deepEqual(
    restored.map(({ id, repoTags }) => [id, repoTags]),
    [[image.config.digest, []]],
  );
  assert.equal(skipped.length, 1);
  assert.equal(skipped[0]?.what, other.manifest.digest);
  assert.deepEqual(
    node.images.list().map(({ id }) => id),
    [image.config.digest],
  );
  assert.equal((await node.left()).layers, 2);
  assert.deepEqual(await node.images.check({ signal }), []);
  await node[Symbol.asyncDispose]();
});

test("rebuild: names and digests from the copies; layers are unpacked again", async () => {
  await using registry = await FakeRegistry.start();
  let node = await startNode();
  const record = await node.images.pull(registry.add("app", "v1", image), { signal });
  node = await node.restart(
    {},
    async () => {
      await loseDatabase(node.root);
      await rm(join(node.root, "snapshots"), { recursive: true });
    },
    { start: false },
  );
  const { restored, skipped } = await node.images.rebuild({ signal });
  assert.deepEqual([restored, skipped], [[record], []]);
  assert.deepEqual(await node.images.rebuild({ signal }), { restored: [], skipped: [] });
  await node[Symbol.asyncDispose]();
});

test("mounts for people: one an image, kept over a restart, gone with unmount and after a reboot", async () => {
  await using registry = await FakeRegistry.start();
  let node = await startNode();
  const ref = registry.add("app", "v1", image);
  const record = await node.images.pull(ref, { signal });
  const { path } = await node.images.mount(ref);
  assert.deepEqual(await node.images.mount(record.id), { imageId: record.id, path });
  await assert.rejects(writeFile(join(path, "x"), "x"), { code: "EROFS" });
  assert.deepEqual(await node.images.hostMounts(), [{ imageId: record.id, path }]);
  node = await node.restart();
  assert.deepEqual(await node.images.hostMounts(), [{ imageId: record.id, path }]);
  // Removed while mounted: the files stay until it is unmounted.
  await node.images.remove(ref, { signal });
  assert.equal(await readFile(join(path, "etc/app"), "utf8"), "app");
  await node.images.unmount(`${path}/`);
  await assert.rejects(node.images.unmount(path), { kind: "not-found" });
  assert.deepEqual((await node.left()).layers, 0);
  assert.deepEqual(await mountsBelow(node.root), []);

  await node.images.pull(ref, { signal });
  const again = await node.images.mount(ref);
  node = await node.restart({}, async () => {
    const { detachAll } = await import("../linux/mount.ts");
    detachAll(again.path);
    await rm(join(node.root, "volumes"), { recursive: true });
  });
  assert.deepEqual(await node.images.hostMounts(), []);
  assert.deepEqual(node.snapshotter.keys(), []);
  await assert.rejects(node.images.mount("nothing:1"), { kind: "not-found" });
  await node[Symbol.asyncDispose]();
});

test("names: tag, and untag that leaves the image", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const ref = registry.add("app", "v1", image);
  const record = await node.images.pull(ref, { signal });
  node.images.tag(ref, "mine:2");
  node.images.untag(ref);
  assert.deepEqual(node.images.get(record.id)?.repoTags, ["docker.io/library/mine:2"]);
  assert.equal(node.images.get(ref), undefined);
  assert.throws(() => node.images.untag(ref), { kind: "not-found" });
  assert.throws(() => node.images.tag("nothing:1", "x:1"), { kind: "not-found" });
});

async function loseDatabase(root: string): Promise<void> {
  for (const name of readdirSync(root)) if (name.startsWith("meta.db")) await rename(join(root, name), join(root, `lost-${name}`));
}

async function mountsBelow(root: string): Promise<string[]> {
  return (await readMountinfo()).map(({ mountPoint }) => mountPoint).filter((point) => point.startsWith(root));
}
