import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { digestOf } from "../base/digest.ts";
import { isKind } from "../base/errors.ts";
import { FakeRegistry } from "../registry/testkit/fake-registry.ts";
import { makeTestImage } from "../registry/testkit/test-image.ts";
import { startNode } from "./testkit.ts";

const signal = AbortSignal.timeout(120_000);
const nothing = { blobs: 0, ingests: 0, leases: 0, layers: 0, staging: 0 };
const registry = await FakeRegistry.start();
after(() => registry[Symbol.asyncDispose]());

/** Images that share layers from the bottom: [0], [0 1], [0 1 2] and one of its own. */
const layers = ["a", "b", "c"].map((name) => [{ name, content: name.repeat(20_000) }]);
const images = await Promise.all(
  [layers.slice(0, 1), layers.slice(0, 2), layers, [[{ name: "own", content: "own" }]]].map((some) => makeTestImage({ layers: some })),
);
const refs = images.map((image, index) => registry.add(`image${index}`, "v1", image));

/** Numbers that look random and are the same for a seed (Numerical Recipes' generator). */
function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

for (const form of ["erofs", "directory"] as const) {
  const seed = Number(process.env.CRID_TEST_SEED ?? Date.now() % 1e6);
  test(`${form}: pulls, removals and collections of the same images at once: nothing is lost, nothing is left (seed ${seed})`, async () => {
    const random = randomOf(seed);
    await using node = await startNode({ form, images: { upkeep: { collectIntervalMs: 7, sumDelayMs: 5 } } });
    registry.intercept = async () => {
      await sleep(random(4));
      return false;
    };
    const worker = async (): Promise<void> => {
      for (let step = 0; step < 15; step++) {
        const ref = refs[random(refs.length)] ?? "";
        const what = random(10);
        if (what < 5) await node.images.pull(ref, { signal });
        else if (what < 8) await node.images.remove(ref, { signal });
        else if (what === 8) {
          // A caller who goes.
          const going = AbortSignal.timeout(1 + random(30));
          await node.images.pull(ref, { signal: going }).catch((error: unknown) => assert.ok(going.aborted, String(error)));
        } else await useOnce(ref, `user${random(1e6)}`);
      }
    };
    /** A container on the image, if it is there at this moment. */
    const useOnce = async (ref: string, key: string): Promise<void> => {
      const image = node.images.get(ref);
      if (image === undefined) return;
      try {
        await node.images.rootfs(key, image, { readonly: true });
      } catch (error) {
        assert.ok(isKind(error, "not-found"), String(error));
        return;
      }
      await sleep(random(10));
      for (const chainId of image.chainIds) assert.ok(node.snapshotter.hasLayer(chainId), "a layer went from below a container");
      await node.images.releaseRootfs(key);
    };
    await Promise.all(Array.from({ length: 5 }, worker));
    assert.deepEqual(await node.images.check({ signal }), []);
    for (const ref of refs) await node.images.pull(ref, { signal });
    assert.deepEqual(await node.images.check({ signal }), []);
    for (const ref of refs) await node.images.remove(ref, { signal });
    // What a caller who went has left under its lease, the next pull of it has taken over.
    assert.deepEqual(await node.left(), nothing);
  });
}

test("what nothing refers to goes from time to time, without a restart: blobs, layers, partial downloads of yesterday", async () => {
  const counts = new Map<string, number>();
  const metrics = {
    pull: () => undefined,
    pullsRunning: () => undefined,
    verified: () => undefined,
    collected: (kind: string, count: number) => void counts.set(kind, (counts.get(kind) ?? 0) + count),
  };
  registry.intercept = () => false;
  await using node = await startNode({ images: { upkeep: { collectIntervalMs: 20, keepPartialMs: 3600_000 }, metrics } });
  await node.images.pull(refs[1] ?? "", { signal });
  const orphan = Buffer.from("nobody's");
  await node.content.put(digestOf(orphan), orphan);
  const stale = join(node.root, "content/ingest", `sha256-${"0".repeat(64)}`);
  const young = join(node.root, "content/ingest", `sha256-${"1".repeat(64)}`);
  for (const file of [stale, young]) await writeFile(file, "part");
  const twoHoursAgo = Date.now() / 1000 - 7200;
  await utimes(stale, twoHoursAgo, twoHoursAgo);
  for (let attempt = 0; attempt < 250; attempt++) {
    if (!existsSync(stale) && (await node.content.stat(digestOf(orphan))) === undefined) break;
    await sleep(20);
  }
  assert.equal(existsSync(stale), false);
  assert.equal(existsSync(young), true);
  assert.equal(await node.content.stat(digestOf(orphan)), undefined);
  assert.deepEqual(Object.fromEntries(counts), { blob: 1, partial: 1 });
  assert.deepEqual(await node.images.check({ signal }), []);
  assert.equal((await node.left()).layers, 2);
});
