import assert from "node:assert/strict";
import { createWriteStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { after, test } from "node:test";
import { type Cut, CutDisk } from "../linux/testkit/cut-disk.ts";
import { FakeRegistry } from "../registry/testkit/fake-registry.ts";
import { makeTestImage, type TestImage } from "../registry/testkit/test-image.ts";
import type { LayerForm } from "../snapshot/snapshotter.ts";
import { type Doomed, dieDuring, failpointsOf } from "./crash-testkit.ts";
import { type ImageNode, startNode } from "./testkit.ts";

// The daemon is killed at a failpoint and the power cut in the same moment: whatever was not synced is lost. The next start finds the old
// state or the new one, whole; the same call works; and a removal leaves nothing.

const signal = AbortSignal.timeout(300_000);
const nothing = { blobs: 0, ingests: 0, leases: 0, layers: 0, staging: 0 };
const files: Record<string, string> = {
  "etc/base": "base".repeat(3000),
  "usr/app": "app",
  "opt/deep/er/data": "0123456789".repeat(40_000),
};
const shared = [{ name: "etc/", type: "directory" as const }, fileOf("etc/base")];
const oldImage = await makeTestImage({ layers: [shared, [fileOf("usr/app")]], config: { Labels: { which: "old" } } });
const newImage = await makeTestImage({
  // A directory that only the path implies: the commit puts its attributes right.
  layers: [shared, [fileOf("opt/deep/er/data")], [{ name: "usr/", type: "directory", mode: 0o711 }, fileOf("usr/app")]],
  config: { Labels: { which: "new" } },
});
const cuts: Cut[] = ["nothing-flushed", "names-flushed"];
const forms: LayerForm[] = ["erofs", "directory"];

const registry = await FakeRegistry.start();
after(() => registry[Symbol.asyncDispose]());

function fileOf(name: string): { name: string; content: string } {
  return { name, content: files[name] ?? "" };
}

interface Case extends Pick<Doomed, "before" | "act" | "point" | "form" | "discardUnpackedLayers"> {
  cut: Cut;
  /** Brings the new state about, or asserts it. */
  again: (node: ImageNode) => Promise<void>;
  /** Names that the image has in the old and in the new state. */
  states: (string | undefined)[];
  ref: string;
}

async function cutAndLook({ cut, again, states, ref, ...doomed }: Case): Promise<void> {
  using disk = new CutDisk({ megabytes: 48 });
  const root = join(disk.path, "root");
  await dieDuring({ root, ...doomed });
  disk.cut(cut);
  const node = await startNode({ root, form: doomed.form });
  try {
    assert.ok(states.includes(node.images.get(ref)?.id), `neither the old nor the new state: ${node.images.get(ref)?.id}`);
    await whole(node);
    await again(node);
    await whole(node);
    for (const { id } of node.images.list()) await node.images.remove(id, { signal });
    // Another image's pull may have been cut too: its parts wait for it under its lease.
    assert.deepEqual(await node.left(), nothing);
  } finally {
    await node.stop();
  }
}

/** Every image that is there can be used: nothing of it is missing, and every file has its content. */
async function whole(node: ImageNode): Promise<void> {
  assert.deepEqual(await node.images.check({ signal }), []);
  for (const image of node.images.list()) {
    const { path } = await node.images.mount(image.id);
    const names = image.config.labels.which === "new" ? Object.keys(files) : ["etc/base", "usr/app"];
    for (const name of names) assert.equal(await readFile(join(path, name), "utf8"), files[name], name);
    await node.images.unmount(image.id);
  }
}

const repeated = /content\.commit|snapshot\.commit|after-unpack|before-blob-commit/;
const pullPoints = failpointsOf("image.pull.", "content.commit.", "snapshot.commit.").flatMap((name) => [
  ...cuts.map((cut) => ({ point: `${name}=crash`, cut })),
  ...(repeated.test(name) ? [{ point: `${name}=crash@2`, cut: "nothing-flushed" as const }] : []),
]);
for (const [index, { point, cut }] of pullPoints.entries()) {
  test(`pull, ${point}, ${cut}`, async () => {
    const ref = registry.add(`pull${index}`, "v1", newImage);
    // The tag has the old image first, and moves.
    const before = registry.add(`old${index}`, "v1", oldImage);
    await cutAndLook({
      point,
      cut,
      form: forms[index % 2] ?? "erofs",
      before: [before],
      act: { do: "pull", ref },
      ref,
      states: [undefined, newImage.config.digest],
      again: async (node) => {
        assert.equal(node.images.get(before)?.id, oldImage.config.digest, "an image whose pull had ended is lost");
        await node.images.pull(ref, { signal });
      },
    });
  });
}

for (const [index, name] of failpointsOf("image.remove.", "image.collect.", "snapshot.remove-layer.").entries()) {
  for (const [way, cut] of cuts.entries()) {
    test(`remove, ${name}, ${cut}`, async () => {
      const ref = registry.add("removed", "v1", newImage);
      await cutAndLook({
        point: `${name}=crash`,
        cut,
        form: forms[(index + way) % 2] ?? "erofs",
        before: [ref],
        act: { do: "remove", ref },
        ref,
        states: [undefined, newImage.config.digest],
        again: (node) => node.images.remove(ref, { signal }),
      });
    });
  }
}

for (const [index, name] of failpointsOf("image.copy.").entries()) {
  for (const [way, cut] of cuts.entries()) {
    test(`tag, ${name}, ${cut}: the image has the new name or not, and never none`, async () => {
      const ref = registry.add(`tagged${index}${way}`, "v1", newImage);
      await cutAndLook({
        point: `${name}=crash`,
        cut,
        form: forms[(index + way) % 2] ?? "erofs",
        before: [ref],
        act: { do: "tag", ref, name: "mine:2" },
        ref,
        states: [newImage.config.digest],
        again: async (node) => {
          const names = node.images.get(ref)?.repoTags.length ?? 0;
          assert.ok(names === 1 || names === 2, `${names}`);
          assert.deepEqual(node.images.tag(ref, "mine:2").repoTags, ["docker.io/library/mine:2", ref].sort());
        },
      });
    });
  }
}

for (const [index, name] of failpointsOf("image.collect.", "image.pull.before-record", "image.pull.after-record").entries()) {
  test(`pull that drops its blobs (discardUnpackedLayers), ${name}, ${cuts[index % 2]}`, async () => {
    const ref = registry.add(`dropped${index}`, "v1", newImage);
    await cutAndLook({
      point: `${name}=crash`,
      cut: cuts[index % 2] ?? "nothing-flushed",
      form: forms[index % 2] ?? "erofs",
      discardUnpackedLayers: true,
      before: [],
      act: { do: "pull", ref },
      ref,
      states: [undefined, newImage.config.digest],
      again: async (node) => void (await node.images.pull(ref, { signal })),
    });
  });
}

for (const [index, name] of failpointsOf("image.import.", "content.commit-unnamed.").entries()) {
  for (const [way, cut] of cuts.entries()) {
    test(`import, ${name}, ${cut}`, async () => {
      using disk = new CutDisk({ megabytes: 16 });
      const archive = join(disk.path, "archive.tar");
      const ref = await exportTo(archive, newImage);
      const { createReadStream } = await import("node:fs");
      await cutAndLook({
        point: `${name}=crash`,
        cut,
        form: forms[(index + way) % 2] ?? "erofs",
        before: [],
        act: { do: "import", archive },
        ref,
        states: [undefined, newImage.config.digest],
        again: async (node) => void (await node.images.import(createReadStream(archive), { signal })),
      });
    });
  }
}

async function exportTo(archive: string, image: TestImage): Promise<string> {
  await using node = await startNode();
  const ref = registry.add("archived", "v1", image);
  await node.images.pull(ref, { signal });
  await pipeline(node.images.export([ref], { signal }), createWriteStream(archive));
  return ref;
}
