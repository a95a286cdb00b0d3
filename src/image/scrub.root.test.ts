import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { appendFile, open, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { FakeRegistry } from "../registry/testkit/fake-registry.ts";
import { makeTestImage } from "../registry/testkit/test-image.ts";
import { layerDirectory } from "../snapshot/layer-name.ts";
import { type ImageNode, startNode } from "./testkit.ts";

const signal = AbortSignal.timeout(120_000);
const layer = [
  { name: "etc/", type: "directory" as const },
  { name: "etc/app", content: "what the app reads ".repeat(5000) },
  { name: "etc/link", type: "symlink" as const, linkname: "app" },
];
const image = await makeTestImage({ layers: [layer, [{ name: "etc/top", content: "top" }]] });
/** Another image on the same first layer. */
const sibling = await makeTestImage({ layers: [layer, [{ name: "etc/other", content: "other" }]] });
const lone = await makeTestImage({ layers: [[{ name: "lone", content: "lone" }]] });
const registry = await FakeRegistry.start();
after(() => registry[Symbol.asyncDispose]());
const ref = registry.add("app", "v1", image);
const siblingRef = registry.add("sibling", "v1", sibling);
const loneRef = registry.add("lone", "v1", lone);
const upkeep = { scrubDelayMs: 0, sumDelayMs: 0 };

function layerFile(node: ImageNode, ...below: string[]): string {
  const [chainId = ""] = node.images.get(ref)?.chainIds ?? [];
  return join(node.root, "snapshots/layers", layerDirectory(chainId), ...below);
}

async function flip(path: string, at: number): Promise<void> {
  await using file = await open(path, "r+");
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, at);
  byte.writeUInt8(byte.readUInt8(0) ^ 0x10);
  await file.write(byte, 0, 1, at);
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt++) {
    if (await condition()) return;
    await sleep(20);
  }
  throw new Error(`did not happen: ${what}`);
}

const damages: Record<"erofs" | "directory", [string, (node: ImageNode) => Promise<void>][]> = {
  erofs: [
    ["cut", (node) => truncate(layerFile(node, "layer.erofs"), 8192)],
    ["deleted", (node) => rm(layerFile(node, "layer.erofs"))],
    ["a bit of its data flipped", (node) => flip(layerFile(node, "layer.erofs"), 20_000)],
    ["a bit of its superblock flipped", (node) => flip(layerFile(node, "layer.erofs"), 1024)],
  ],
  directory: [
    ["deleted", (node) => rm(layerFile(node, "fs"), { recursive: true })],
    ["emptied", (node) => rm(layerFile(node, "fs/etc"), { recursive: true })],
    ["a file cut", (node) => truncate(layerFile(node, "fs/etc/app"), 10)],
    ["a file deleted", (node) => rm(layerFile(node, "fs/etc/app"))],
    ["a bit of a file flipped", (node) => flip(layerFile(node, "fs/etc/app"), 777)],
  ],
};
for (const form of ["erofs", "directory"] as const) {
  for (const [what, damage] of damages[form]) {
    test(`${form}: a layer ${what} is told by a check, and healed by the pull of another image that has it`, async () => {
      await using node = await startNode({ form, images: { upkeep } });
      await node.images.pull(ref, { signal });
      await node.images.pull(siblingRef, { signal });
      await until("the sums of all layers are noted", async () =>
        (await Promise.all(node.snapshotter.layers().map((chainId) => node.snapshotter.isSummed(chainId)))).every(Boolean),
      );
      assert.deepEqual(await node.images.check({ signal }), []);
      await damage(node);
      const faults = await node.images.check({ signal });
      assert.deepEqual(
        faults.map(({ kind }) => kind),
        ["layer-damaged", "layer-damaged"],
      );
      const before = registry.count("/blobs/");
      await node.images.pull(siblingRef, { signal });
      assert.equal(registry.count("/blobs/"), before, "the blob is whole: nothing has to be fetched");
      assert.deepEqual(await node.images.check({ signal }), []);
      const { path } = await node.images.mount(ref);
      assert.equal(readFileSync(join(path, "etc/link"), "utf8"), layer[1]?.content);
      await node.images.unmount(ref);
    });
  }
}

test("what is cut or gone is healed by a pull without any check before", async () => {
  for (const form of ["erofs", "directory"] as const) {
    await using node = await startNode({ form });
    await node.images.pull(ref, { signal });
    await damages[form][0]?.[1](node);
    await rm(node.content.path(image.layers[1]?.digest ?? ""));
    await node.images.pull(ref, { signal });
    assert.deepEqual(await node.images.check({ signal }), []);
  }
});

test("a blob whose bytes are others is told by a check, and healed by the next pull of another image", async () => {
  await using node = await startNode();
  await node.images.pull(ref, { signal });
  await flip(node.content.path(image.layers[0]?.digest ?? ""), 30);
  assert.equal((await node.images.check({ signal }))[0]?.kind, "blob-damaged");
  await node.images.pull(siblingRef, { signal });
  assert.deepEqual(await node.images.check({ signal }), []);
});

test("a layer that a container runs on is left alone, and made anew once it is free", async () => {
  await using node = await startNode({ form: "directory" });
  const record = await node.images.pull(ref, { signal });
  await node.images.check({ signal });
  await node.images.rootfs("container", record);
  await writeFile(layerFile(node, "fs/etc/app"), "other");
  await node.images.check({ signal });
  await node.images.pull(ref, { signal });
  assert.equal(readFileSync(layerFile(node, "fs/etc/app"), "utf8"), "other");
  await node.images.releaseRootfs("container");
  await node.images.pull(ref, { signal });
  assert.equal(readFileSync(layerFile(node, "fs/etc/app"), "utf8"), layer[1]?.content);
});

for (const form of ["erofs", "directory"] as const) {
  test(`${form}: after a stop that was not clean all is verified: what is damaged is mended or goes, so that the next pull brings it`, async () => {
    const counts = new Map<string, number>();
    const metrics = {
      pull: () => undefined,
      pullsRunning: () => undefined,
      collected: () => undefined,
      verified: (kind: string, result: string) => void counts.set(`${kind} ${result}`, (counts.get(`${kind} ${result}`) ?? 0) + 1),
    };
    const file = (node: ImageNode): string => join(node.root, "content/scrub");
    let node = await startNode({ form, images: { upkeep: { sumDelayMs: 0 }, metrics } });
    await node.images.pull(ref, { signal });
    await node.images.pull(siblingRef, { signal });
    await node.images.pull(loneRef, { signal });
    await node.images.check({ signal });
    // An orderly stop: nothing to do.
    node = await node.restart();
    assert.equal(existsSync(file(node)), false);
    // One that was not: the note of the run stays as it was.
    const damage = async (): Promise<void> => {
      await damages[form].at(form === "erofs" ? 2 : -1)?.[1](node);
      await flip(node.content.path(lone.layers[0]?.digest ?? ""), 20);
    };
    node = await node.restart({ upkeep: { scrubDelayMs: 3600_000 } }, damage, { start: true, crash: true });
    assert.equal(readFileSync(file(node), "utf8"), "");
    // Crashed again before it was over: what was found right stays so.
    const [sound = ""] = [sibling.config.digest];
    await appendFile(file(node), `${sound}\nsha256:half`);
    node = await node.restart({ upkeep }, undefined, { start: true, crash: true });
    await until("the pass is over", () => !existsSync(file(node)));
    assert.deepEqual(Object.fromEntries(counts), { "blob ok": 8, "blob damaged": 1, "layer ok": 3, "layer damaged": 1 });
    // The layer was made again out of its blob; the blob that is lost is forgotten until the next pull.
    assert.deepEqual(await node.images.check({ signal }), []);
    const fetched = registry.count("/blobs/");
    for (const name of [ref, siblingRef, loneRef]) await node.images.pull(name, { signal });
    assert.equal(registry.count("/blobs/"), fetched + 1);
    assert.deepEqual(await node.images.check({ signal }), []);
    await node[Symbol.asyncDispose]();
  });
}
