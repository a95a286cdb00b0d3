import assert from "node:assert/strict";
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { FakeRegistry } from "../registry/testkit/fake-registry.ts";
import { makeTestImage } from "../registry/testkit/test-image.ts";
import { layerDirectory } from "../snapshot/layer-name.ts";
import { type Doomed, dieDuring, failpointsOf } from "./crash-testkit.ts";
import { type ImageNode, startNode } from "./testkit.ts";

// `kill -9` at each step of what changes images without pulling them: names, repairs, a rebuild, the collection at a start, and pulls that drop
// their blobs. crash.root.test.ts has the others.

const signal = AbortSignal.timeout(300_000);
const image = await makeTestImage({
  layers: [
    [{ name: "etc/", type: "directory" }],
    [{ name: "etc/app", content: "app" }],
    [{ name: "c", content: Buffer.alloc(100_000, "c") }],
  ],
});
const nothing = { blobs: 0, ingests: 0, leases: 0, layers: 0, staging: 0 };
const whole = { blobs: 5, ingests: 0, leases: 0, layers: 3, staging: 0 };
const registry = await FakeRegistry.start();
after(() => registry[Symbol.asyncDispose]());
const ref = registry.add("app", "v1", image);
const id = image.config.digest;

/** An image on a stopped node; something is done to its folder, the failpoint kills what is done then, and the node is looked at after a start. */
async function killed(
  point: string,
  o: { act: Doomed["act"]; before?: (node: ImageNode) => Promise<unknown>; stopped?: (node: ImageNode) => Promise<unknown> },
  look: (node: ImageNode) => Promise<void>,
): Promise<void> {
  const first = await startNode();
  const { root } = first;
  await first.images.pull(ref, { signal });
  await o.before?.(first);
  await first.stop();
  await o.stopped?.(first);
  await dieDuring({ root, form: "directory", before: [], act: o.act, point: `${point}=crash` });
  await using node = await startNode({ root });
  await look(node);
  assert.deepEqual(await node.images.check({ signal }), []);
  for (const one of node.images.list()) await node.images.remove(one.id, { signal });
  assert.deepEqual(await node.left(), nothing);
  assert.deepEqual(await readdir(join(root, "content/images")), [], "copies of records");
}

async function loseDatabase({ root }: ImageNode): Promise<void> {
  for (const suffix of ["", "-wal", "-shm"]) await rm(join(root, `meta.db${suffix}`), { force: true });
}

for (const point of failpointsOf("image.copy.")) {
  test(`tag, ${point}: it has the name, and nothing half written is left`, () =>
    killed(point, { act: { do: "tag", ref, name: "mine:2" } }, async (node) => {
      const record = node.images.get("mine:2");
      assert.deepEqual(record?.repoTags, [ref, "docker.io/library/mine:2"].sort());
      assert.deepEqual(await readdir(join(node.root, "content/images")), [`${id.slice(7)}.json`]);
    }));

  test(`tag, ${point}, and the database is lost: the old names or the new ones`, async () => {
    const first = await startNode();
    const { root } = first;
    await first.images.pull(ref, { signal });
    await first.stop();
    await dieDuring({ root, form: "directory", before: [], act: { do: "tag", ref, name: "mine:2" }, point: `${point}=crash` });
    await loseDatabase(first);
    await using node = await startNode({ root });
    const names = [[ref], [ref, "docker.io/library/mine:2"].sort()];
    assert.ok(names.some((some) => some.join() === node.images.get(ref)?.repoTags.join()));
    assert.equal(node.images.tag(id, "mine:2").repoTags.length, 2);
    await node.images.remove(ref, { signal });
    assert.deepEqual(await node.left(), nothing);
  });

  test(`untag, ${point}: the name is gone, the image is not`, () =>
    killed(point, { before: async (node) => node.images.tag(ref, "mine:2"), act: { do: "untag", ref, name: "mine:2" } }, async (node) =>
      assert.deepEqual(node.images.get(id)?.repoTags, [ref]),
    ));
}

/** One layer as it is unpacked is damaged, and its blob with it: it takes a registry to mend that. */
async function damage(node: ImageNode): Promise<void> {
  assert.deepEqual(await node.images.check({ signal }), [], "notes the sums");
  const chainId = node.images.get(ref)?.chainIds[1] ?? "";
  await writeFile(join(node.root, "snapshots/layers", layerDirectory(chainId), "fs/etc/app"), "else");
  const [, layer] = image.layers;
  await writeFile(node.content.path(layer?.digest ?? ""), Buffer.alloc(layer?.size ?? 0));
}

const repairPoints = failpointsOf("image.repair.", "snapshot.remove-layer.", "image.pull.", "content.commit.", "snapshot.commit.");
for (const point of repairPoints) {
  test(`repair, ${point}: the next one mends it, or the next pull does`, () =>
    killed(point, { before: damage, act: { do: "repair" } }, async (node) => {
      for await (const { outcome } of node.images.repair(await node.images.check({ signal }), { signal }))
        assert.equal(outcome, "repaired");
      await node.images.pull(ref, { signal });
      assert.deepEqual(await node.left(), whole);
    }));
}

for (const point of failpointsOf("image.repair.", "image.remove.", "image.collect.", "snapshot.remove-layer.")) {
  test(`repair of what cannot be mended, ${point}: it is gone after the next one, and leaves nothing`, async () => {
    const lost = registry.add("lost", "v1", image);
    const silence: FakeRegistry["intercept"] = (_, response) => Boolean(response.writeHead(404).end());
    try {
      await killed(
        point,
        {
          before: async (node) => {
            await node.images.pull(lost, { signal });
            await damage(node);
            registry.intercept = silence;
          },
          act: { do: "repair" },
        },
        async (node) => {
          for await (const { outcome } of node.images.repair(await node.images.check({ signal }), { signal }))
            assert.equal(outcome, "dropped");
          assert.deepEqual([node.images.list(), await node.left()], [[], nothing]);
        },
      );
    } finally {
      registry.intercept = () => false;
    }
  });
}

const rebuildPoints = failpointsOf(
  "image.rebuild.",
  "image.pull.before-record",
  "image.pull.after-record",
  "image.pull.after-unpack",
  "snapshot.commit.",
);
for (const point of [...rebuildPoints, ...failpointsOf("image.copy.")]) {
  test(`state rebuild, ${point}: the next one finds the rest`, async () => {
    const first = await startNode();
    const { root } = first;
    await first.images.pull(ref, { signal });
    await first.stop();
    await loseDatabase(first);
    await rm(join(root, "snapshots"), { recursive: true });
    const copiesToo = point.startsWith("image.copy.");
    if (copiesToo) await rm(join(root, "content/images"), { recursive: true });
    await dieDuring({ root, form: "directory", before: [], act: { do: "rebuild" }, point: `${point}=crash` });
    const again = await startNode({ root, start: false });
    await again.images.rebuild({ signal });
    await again.stop();
    await using node = await startNode({ root });
    assert.equal(node.images.get(id)?.id, id);
    assert.deepEqual(node.images.get(id)?.repoTags, copiesToo ? [] : [ref]);
    assert.deepEqual(await node.left(), whole);
    assert.deepEqual(await node.images.check({ signal }), []);
    await node.images.remove(id, { signal });
    assert.deepEqual(await node.left(), nothing);
  });
}

for (const point of failpointsOf("image.collect.", "snapshot.remove-layer.")) {
  test(`collection at a start, ${point}: the next start ends it`, () =>
    killed(
      point,
      {
        stopped: async (node) => {
          await loseDatabase(node);
          await rm(join(node.root, "content/images"), { recursive: true });
        },
        act: { do: "start" },
      },
      async (node) => assert.deepEqual([node.images.list(), await node.left()], [[], nothing]),
    ));
}

for (const point of failpointsOf("image.pull.", "image.collect.", "image.copy.")) {
  test(`pull that drops its blobs (discardUnpackedLayers), ${point}: the same pull works, and keeps no more than it would have`, async () => {
    const made = await startNode();
    const { root } = made;
    await made.stop();
    const images = { discardUnpackedLayers: true };
    await dieDuring({ root, form: "directory", before: [], act: { do: "pull", ref }, point: `${point}=crash`, ...images });
    await using node = await startNode({ root, images });
    await node.images.pull(ref, { signal });
    assert.deepEqual(await node.left(), { ...whole, blobs: 2 });
    assert.deepEqual(await node.images.check({ signal }), []);
    await node.images.remove(ref, { signal });
    assert.deepEqual(await node.left(), nothing);
  });
}
