import assert from "node:assert/strict";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { after, test } from "node:test";
import { FakeRegistry } from "../registry/testkit/fake-registry.ts";
import { makeTestImage } from "../registry/testkit/test-image.ts";
import { type Doomed, dieDuring, failpointsOf } from "./crash-testkit.ts";
import { type ImageNode, startNode } from "./testkit.ts";

// `kill -9` at each step; what a power cut does besides is in power-cut.root.test.ts.

const signal = AbortSignal.timeout(300_000);
const image = await makeTestImage({
  layers: [[{ name: "a", content: "a" }], [{ name: "b", content: "b" }], [{ name: "c", content: Buffer.alloc(300_000, "0123456789") }]],
});
const nothing = { blobs: 0, ingests: 0, leases: 0, layers: 0, staging: 0 };

const work = await mkdtemp(join(tmpdir(), "crid-crash-"));
const registry = await FakeRegistry.start();
after(async () => {
  await registry[Symbol.asyncDispose]();
  await rm(work, { recursive: true, force: true });
});
const ref = registry.add("app", "v1", image);
const archive = join(work, "archive.tar");

async function killed(point: string, doomed: Pick<Doomed, "before" | "act">, again: (node: ImageNode) => Promise<void>): Promise<void> {
  const root = await mkdtemp(join(work, "root-"));
  await dieDuring({ root, form: "directory", point: `${point}=crash`, ...doomed });
  await using node = await startNode({ root });
  assert.equal((await node.left()).staging, 0);
  await again(node);
  assert.deepEqual(await node.images.check({ signal }), []);
  await node.images.remove(ref, { signal });
  assert.deepEqual(await node.left(), nothing);
}

for (const point of failpointsOf("image.pull.", "content.commit.", "snapshot.commit.")) {
  test(`pull, ${point}: the same pull works, a removal leaves nothing`, () =>
    killed(point, { before: [], act: { do: "pull", ref } }, async (node) => void (await node.images.pull(ref, { signal }))));
}

for (const point of failpointsOf("image.remove.", "image.collect.", "snapshot.remove-layer.")) {
  test(`remove, ${point}: the same removal works and leaves nothing`, () =>
    killed(point, { before: [ref], act: { do: "remove", ref } }, async (node) => node.images.remove(ref, { signal })));
}

test("import and export", async (t) => {
  {
    await using node = await startNode();
    await node.images.pull(ref, { signal });
    await pipeline(node.images.export([ref], { signal }), createWriteStream(archive));
  }
  for (const point of failpointsOf("image.import.", "content.commit-unnamed.", "image.pull.after-unpack", "image.pull.before-record")) {
    await t.test(`import, ${point}: the same import works, a removal leaves nothing`, () =>
      killed(point, { before: [], act: { do: "import", archive } }, async (node) => {
        await node.images.import(createReadStream(archive), { signal });
        assert.equal(node.images.get(ref)?.id, image.config.digest);
      }),
    );
  }
  for (const point of failpointsOf("image.export.")) {
    await t.test(`export, ${point}: the image is as it was, the same export works, a removal leaves nothing`, () =>
      killed(point, { before: [ref], act: { do: "export", ref } }, async (node) => {
        assert.equal((await node.left()).leases, 0);
        let bytes = 0;
        for await (const chunk of node.images.export([ref], { signal })) bytes += chunk.length;
        assert.ok(bytes > 1000);
      }),
    );
  }
});
