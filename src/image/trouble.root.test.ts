import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { digestOf } from "../base/digest.ts";
import { CridError } from "../base/errors.ts";
import { armFailpoints } from "../base/failpoints.ts";
import { FakeRegistry } from "../registry/testkit/fake-registry.ts";
import { blob, makeTestImage, type TestImage } from "../registry/testkit/test-image.ts";
import { startNode } from "./testkit.ts";

const signal = AbortSignal.timeout(120_000);
const nothing = { blobs: 0, ingests: 0, leases: 0, layers: 0, staging: 0 };

const base = [
  { name: "etc/", type: "directory" as const },
  { name: "etc/base", content: "base" },
];
const image = await makeTestImage({
  layers: [base, [{ name: "etc/app", content: "app" }], [{ name: "big", content: Buffer.alloc(700_000, "0123456789") }]],
  config: {
    User: "1002:3",
    Env: ["A=b"],
    Cmd: ["sh"],
    Entrypoint: null,
    Labels: { x: "y" },
    Volumes: { "/data": {} },
    StopSignal: "SIGINT",
  },
});
const other = await makeTestImage({ layers: [base, [{ name: "etc/other", content: "other" }]], docker: true });

const lies: [string, (registry: FakeRegistry, image: TestImage) => void, RegExp][] = [
  [
    "a layer with other content",
    (registry, { layers }) => {
      registry.intercept = (request, response) =>
        request.url.includes(layers[1]?.digest ?? "?") && Boolean(response.end(Buffer.alloc(layers[1]?.size ?? 0)));
    },
    /another digest/,
  ],
  [
    "a layer of another size",
    (registry, { layers }) => {
      registry.intercept = (request, response) => request.url.includes(layers[2]?.digest ?? "?") && Boolean(response.end("short"));
    },
    /has 5 bytes, the manifest says/,
  ],
  [
    "a manifest that is not JSON",
    (registry) => void registry.addManifest("app", "v1", blob("application/vnd.oci.image.manifest.v1+json", "{nonsense")),
    /not JSON/,
  ],
  [
    "a config that fits another image",
    (registry, { config, layers }) => {
      const manifest = {
        schemaVersion: 2,
        config: { ...config, data: undefined },
        layers: [layers[0]].map((layer) => ({ ...layer, data: undefined })),
      };
      registry.addManifest("app", "v1", blob("application/vnd.oci.image.manifest.v1+json", JSON.stringify(manifest)));
    },
    /it names 3 layers, the manifest 1/,
  ],
  [
    "layers in another order",
    (registry, { config, layers }) => {
      const manifest = {
        schemaVersion: 2,
        config: { ...config, data: undefined },
        layers: [1, 0, 2].map((index) => ({ ...layers[index], data: undefined })),
      };
      registry.addManifest("app", "v1", blob("application/vnd.oci.image.manifest.v1+json", JSON.stringify(manifest)));
    },
    /layer sha256/,
  ],
];
for (const [name, arrange, why] of lies) {
  test(`a registry that lies: ${name}: the pull fails and nothing is kept`, async () => {
    await using registry = await FakeRegistry.start();
    await using node = await startNode();
    const ref = registry.add("app", "v1", image);
    arrange(registry, image);
    await assert.rejects(node.images.pull(ref, { signal }), (error) => {
      assert.ok(error instanceof CridError);
      assert.match(error.message, why);
      return true;
    });
    assert.deepEqual(await node.left(), nothing);
    registry.intercept = () => false;
    registry.add("app", "v1", image);
    await node.images.pull(ref, { signal });
  });
}

test("another platform's image, an artifact and schema 1 are refused with the reason", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const foreign = await makeTestImage({ layers: [base], architecture: "s390x" });
  await assert.rejects(node.images.pull(registry.add("a", "foreign", foreign), { signal }), /the image is for linux\/s390x, this node is/);
  const artifact = {
    schemaVersion: 2,
    config: { mediaType: "application/vnd.cncf.helm.config.v1+json", digest: digestOf("x"), size: 1 },
    layers: [],
  };
  const helm = registry.addManifest("a", "helm", blob("application/vnd.oci.image.manifest.v1+json", JSON.stringify(artifact)));
  await assert.rejects(node.images.pull(helm, { signal }), /an artifact of type "application\/vnd\.cncf\.helm/);
  const old = registry.addManifest("a", "old", blob("application/vnd.docker.distribution.manifest.v1+prettyjws", '{"schemaVersion":1}'));
  await assert.rejects(node.images.pull(old, { signal }), /schema 1/);
  assert.deepEqual(await node.left(), nothing);
});

test("a damaged blob and a lost layer are healed by the next pull", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const ref = registry.add("app", "v1", image);
  const record = await node.images.pull(ref, { signal });
  const layer = image.layers[2]?.digest ?? "";
  await truncate(node.content.path(layer), 100);
  await node.images.pull(ref, { signal });
  assert.equal(digestOf(readFileSync(node.content.path(layer))), layer);
  // Same size, other bytes: nobody notices until it is needed.
  writeFileSync(node.content.path(layer), Buffer.alloc(image.layers[2]?.size ?? 0));
  await rm(join(node.root, "snapshots/layers"), { recursive: true });
  const again = await node.restart();
  assert.equal(again.images.get(ref), undefined);
  assert.equal((await again.images.pull(ref, { signal })).id, record.id);
  assert.equal(digestOf(readFileSync(again.content.path(layer))), layer);
  await writeFile(again.content.path(record.manifestDigest), "{}");
  await again.images.pull(ref, { signal });
  assert.equal(digestOf(readFileSync(again.content.path(record.manifestDigest))), record.manifestDigest);
  await again[Symbol.asyncDispose]();
});

test("simultaneous pulls and removes of one image leave a whole image or none", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const ref = registry.add("app", "v1", image);
  await Promise.all(
    Array.from({ length: 40 }, async (_, index) => {
      await sleep(index * 3);
      if (index % 2 === 0) await node.images.pull(ref, { signal });
      else await node.images.remove(ref, { signal });
    }),
  );
  const record = node.images.get(ref);
  if (record !== undefined) {
    await node.images.rootfs("check", record, { readonly: true });
    await node.images.releaseRootfs("check");
    for (const { digest } of [image.config, image.manifest, ...image.layers])
      assert.ok(await node.content.verify(digest, { signal }), digest);
    await node.images.remove(ref, { signal });
  }
  assert.deepEqual(await node.left(), nothing);
});

for (const point of [
  "image.pull.after-resolve",
  "image.pull.before-blob-commit",
  "image.pull.after-unpack",
  "image.pull.before-record",
  "image.pull.after-record",
]) {
  test(`a pull that fails at ${point} can be repeated, and a removal leaves nothing`, async () => {
    await using registry = await FakeRegistry.start();
    await using node = await startNode();
    const ref = registry.add("app", "v1", image);
    armFailpoints(`${point}=error@1`);
    try {
      await assert.rejects(node.images.pull(ref, { signal }));
    } finally {
      armFailpoints("");
    }
    const restarted = await node.restart();
    await restarted.images.pull(ref, { signal });
    await restarted.images.remove(ref, { signal });
    assert.deepEqual(await restarted.left(), nothing);
    await restarted[Symbol.asyncDispose]();
  });
}

test("what a crash has left and no lease covers is collected at start", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const ref = registry.add("app", "v1", image);
  armFailpoints("image.pull.before-record=error");
  try {
    await assert.rejects(node.images.pull(ref, { signal }));
  } finally {
    armFailpoints("");
  }
  assert.equal((await node.left()).layers, 3);
  await rm(join(node.root, "content/leases"), { recursive: true });
  const restarted = await node.restart();
  assert.deepEqual(await restarted.left(), nothing);
  await restarted[Symbol.asyncDispose]();
});

test("a lost store: images come back from the copies of their records, those that are whole", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const record = await node.images.pull(registry.add("app", "v1", image), { signal });
  const tagged = node.images.tag(record.id, "again:v2");
  const gone = await node.images.pull(registry.add("gone", "v1", other), { signal });
  await node.images.remove(gone.id, { signal });
  await node.images.stop();
  for (const suffix of ["", "-wal", "-shm"]) await rm(join(node.root, `meta.db${suffix}`), { force: true });
  await writeFile(join(node.content.root, "images/nonsense.json"), "{");
  const restarted = await node.restart();
  assert.deepEqual(restarted.images.list(), [tagged]);
  await restarted.images.rootfs("k", tagged, { readonly: true });
  await restarted.images.releaseRootfs("k");
  await restarted.images.remove(record.id, { signal });
  assert.deepEqual(await restarted.left(), nothing);
  await restarted[Symbol.asyncDispose]();
});

test("check finds what is missing and what is damaged", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const record = await node.images.pull(registry.add("app", "v1", image), { signal });
  assert.deepEqual(await node.images.check({ signal }), []);
  const [first, second] = image.layers.map(({ digest }) => digest);
  await rm(node.content.path(first ?? ""));
  await writeFile(node.content.path(second ?? ""), "x");
  await node.snapshotter.removeLayer(record.chainIds[2] ?? "");
  assert.deepEqual(
    (await node.images.check({ signal })).map(({ kind, name }) => [kind, name]),
    [
      ["blob-missing", first],
      ["blob-damaged", second],
      ["layer-missing", record.chainIds[2]],
    ],
  );
  await node.images.pull(registry.add("app", "v1", image), { signal });
  assert.deepEqual(await node.images.check({ signal }), []);
});
