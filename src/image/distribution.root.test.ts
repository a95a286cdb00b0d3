import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { isKind } from "../base/errors.ts";
import { DistributionRegistry, distributionMissing } from "../registry/testkit/distribution.ts";
import { hostArchitecture, makeTestImage, makeTestIndex } from "../registry/testkit/test-image.ts";
import { startNode } from "./testkit.ts";

const signal = AbortSignal.timeout(120_000);
const skip = distributionMissing;
const layers = Array.from({ length: 8 }, (_, index) => [
  { name: `layer-${index}`, content: randomBytes(150_000) },
  { name: "same", content: String(index) },
]);
const image = await makeTestImage({ layers });

test("the distribution registry: tags, digests, indexes, what is missing", { skip }, async () => {
  await using registry = await DistributionRegistry.start();
  await using node = await startNode();
  const ref = await registry.push("team/deep/app", ["1", "2", "latest"], image);
  const index = makeTestIndex([{ image, architecture: hostArchitecture }]);
  await registry.pushManifest("team/deep/app", ["multi"], index);
  const record = await node.images.pull(ref, { signal });
  assert.equal(record.id, image.config.digest);
  assert.equal(record.chainIds.length, 8);
  for (const tag of ["2", "latest"]) await node.images.pull(`${registry.host}/team/deep/app:${tag}`, { signal });
  const multi = await node.images.pull(`${registry.host}/team/deep/app:multi`, { signal });
  assert.equal(multi.id, record.id);
  assert.equal(multi.repoTags.length, 4);
  assert.equal(multi.repoDigests.length, 2);
  await node.images.pull(`${registry.host}/team/deep/app@${index.digest}`, { signal });
  await assert.rejects(node.images.pull(`${registry.host}/team/deep/app:none`, { signal }), (error) => {
    assert.ok(isKind(error, "not-found"));
    assert.match(error.message, /404 Not Found: MANIFEST_UNKNOWN: manifest unknown/);
    return true;
  });
  await assert.rejects(node.images.pull(`${registry.host}/nothing`, { signal }), (error) => isKind(error, "not-found"));
});

test("the distribution registry: a layer that is half here is gone on with", { skip }, async () => {
  await using registry = await DistributionRegistry.start();
  await using node = await startNode();
  const ref = await registry.push("app", ["v1"], image);
  const layer = image.layers[3];
  assert.ok(layer);
  await writeFile(join(node.content.root, "ingest", layer.digest.replace(":", "-")), layer.data.subarray(0, 100_000));
  await node.images.pull(ref, { signal });
  assert.ok(await node.content.verify(layer.digest, { signal }));
});

test("the distribution registry as a mirror of several registries, under the path it has there", { skip }, async () => {
  await using registry = await DistributionRegistry.start();
  await using node = await startNode({ registry: { mirrors: { "*": { endpoints: [`http://${registry.host}`], fallback: false } } } });
  await registry.push("pause", ["3.9"], image);
  await registry.push("library/busybox", ["latest"], image);
  for (const ref of ["registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9", "busybox"]) await node.images.pull(ref, { signal });
  assert.deepEqual(node.images.list()[0]?.repoTags, [
    "docker.io/library/busybox:latest",
    "k8s.gcr.io/pause:3.9",
    "registry.k8s.io/pause:3.9",
  ]);
});
