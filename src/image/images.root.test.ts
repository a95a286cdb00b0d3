import assert from "node:assert/strict";
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CridError, isKind } from "../base/errors.ts";
import { detachAll } from "../linux/mount.ts";
import { FakeRegistry } from "../registry/testkit/fake-registry.ts";
import { hostArchitecture, makeTestImage, makeTestIndex } from "../registry/testkit/test-image.ts";
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

test("pulls an image, and it is there by every name", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const ref = registry.add("team/app", "v1", image);
  const record = await node.images.pull(ref, { signal });
  assert.equal(record.id, image.config.digest);
  assert.deepEqual(record.repoTags, [ref]);
  assert.deepEqual(record.repoDigests, [`${registry.host}/team/app@${image.manifest.digest}`]);
  assert.equal(record.sizeBytes, image.manifest.size + image.config.size + image.layers.reduce((sum, { size }) => sum + size, 0));
  assert.deepEqual(record.diffIds, image.diffIds);
  assert.equal(record.config.user, "1002:3");
  assert.deepEqual(record.config.volumes, ["/data"]);
  assert.deepEqual(record.config.entrypoint, []);
  const hex = record.id.slice("sha256:".length);
  for (const name of [ref, record.id, hex, hex.slice(0, 12), record.repoDigests[0] ?? "", `${ref}@${image.manifest.digest}`]) {
    assert.equal(node.images.get(name)?.id, record.id, name);
  }
  assert.equal(node.images.get("nothing"), undefined);
  assert.deepEqual(await node.left(), { blobs: 5, ingests: 0, leases: 0, layers: 3, staging: 0 });
  assert.deepEqual(node.images.pulls(), []);
  const again = await node.restart();
  assert.deepEqual(again.images.get(ref), record);
  await again[Symbol.asyncDispose]();
});

test("an index: the node's platform is chosen; there is none: the error lists what there is", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  registry.add("app", "plain", image);
  registry.add("app", "other", other);
  const index = makeTestIndex([
    { image: other, architecture: "s390x" },
    { image, architecture: hostArchitecture },
  ]);
  const ref = registry.addManifest("app", "v1", index);
  const record = await node.images.pull(ref, { signal });
  assert.equal(record.id, image.config.digest);
  assert.equal(record.manifestDigest, image.manifest.digest);
  assert.deepEqual(record.repoDigests, [`${registry.host}/app@${index.digest}`]);
  const foreign = registry.addManifest(
    "app",
    "v2",
    makeTestIndex([
      { image: other, architecture: "s390x" },
      { image: other, architecture: "unknown", os: "unknown" },
    ]),
  );
  await assert.rejects(
    node.images.pull(foreign, { signal }),
    (error) => isKind(error, "not-found") && /there is linux\/s390x$/.test(error.message),
  );
});

test("tags, digests and several registries of one image; removing by any name removes all", async () => {
  await using one = await FakeRegistry.start();
  await using two = await FakeRegistry.start();
  await using node = await startNode();
  const refs = [one.add("pause", "3.9", image), two.add("pause", "3.9", image), one.add("pause", "latest", image)];
  for (const ref of refs) await node.images.pull(ref, { signal });
  await node.images.pull(`${one.host}/pause@${image.manifest.digest}`, { signal });
  const listed = node.images.list();
  assert.equal(listed.length, 1);
  assert.deepEqual(
    listed[0]?.repoTags,
    [...refs].sort((a, b) => (a < b ? -1 : 1)),
  );
  assert.equal(listed[0]?.repoDigests.length, 2);
  await node.images.remove(`${one.host}/pause`, { signal });
  assert.deepEqual(node.images.list(), []);
  for (const ref of refs) assert.equal(node.images.get(ref), undefined);
  await node.images.remove(refs[0] ?? "", { signal });
  assert.deepEqual(await node.left(), nothing);
});

test("by digest alone there are no tags", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  registry.add("app", "v1", image);
  const record = await node.images.pull(`${registry.host}/app:ignored@${image.manifest.digest}`, { signal });
  assert.deepEqual(record.repoTags, []);
  assert.deepEqual(record.repoDigests, [`${registry.host}/app@${image.manifest.digest}`]);
});

test("a tag that moves leaves the old image with its digest; shared layers stay when one goes", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const ref = registry.add("app", "v1", image);
  await node.images.pull(ref, { signal });
  registry.add("app", "v1", other);
  const moved = await node.images.pull(ref, { signal });
  assert.equal(moved.id, other.config.digest);
  assert.deepEqual(node.images.get(image.config.digest)?.repoTags, []);
  assert.equal(node.images.get(image.config.digest)?.repoDigests.length, 1);
  assert.equal((await node.left()).layers, 4);
  await node.images.remove(image.config.digest, { signal });
  assert.deepEqual(await node.left(), { blobs: 4, ingests: 0, leases: 0, layers: 2, staging: 0 });
  assert.deepEqual(node.images.get(ref)?.id, other.config.digest);
  await node.images.rootfs("k", moved, { readonly: true });
  await node.images.releaseRootfs("k");
});

test("pulling again asks by HEAD, on a connection that is there, and fetches nothing", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const ref = registry.add("app", "v1", image);
  await node.images.pull(ref, { signal });
  registry.requests.length = 0;
  const { connections } = registry;
  for (let again = 0; again < 3; again++) await node.images.pull(ref, { signal });
  assert.deepEqual(
    registry.requests.map(({ method, url }) => `${method} ${url}`),
    Array.from({ length: 3 }, () => "HEAD /v2/app/manifests/v1"),
  );
  // One may be new: a connection that idles for seconds, on a slow machine, is closed.
  assert.ok(registry.connections - connections <= 1, `${registry.connections - connections} connections for three requests`);
});

test("pulling again what is here by another name, and what has lost a blob", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const record = await node.images.pull(registry.add("app", "v1", image), { signal });
  registry.requests.length = 0;
  const renamed = await node.images.pull(registry.add("app", "v2", image), { signal });
  assert.deepEqual(renamed.repoTags, [`${registry.host}/app:v1`, `${registry.host}/app:v2`]);
  assert.deepEqual(node.images.get(record.id), renamed);
  assert.equal(registry.count("/blobs/"), 0);
  const layer = image.layers[1]?.digest ?? "";
  await rm(node.content.path(layer));
  assert.equal((await node.images.pull(`${registry.host}/app:v1`, { signal })).id, record.id);
  assert.deepEqual([registry.count("/blobs/"), registry.count(layer)], [1, 1]);
  assert.equal((await stat(node.content.path(layer))).size, image.layers[1]?.size);
  await node.images.remove(record.id, { signal });
  assert.deepEqual(await node.left(), nothing);
  await node.images.pull(`${registry.host}/app:v1`, { signal });
  assert.equal(node.snapshotter.layers().length, 3);
});

test("calls at the same time are one pull; another image shares its blobs and layers", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  registry.intercept = async (request) => {
    if (request.url.includes("/blobs/")) await sleep(50);
    return false;
  };
  const refs = [
    registry.add("app", "v1", image),
    registry.add("app", "v1", image),
    registry.add("app", "v2", image),
    registry.add("other", "v1", other),
  ];
  const records = await Promise.all(refs.map((ref) => node.images.pull(ref, { signal })));
  assert.equal(new Set(records.map(({ id }) => id)).size, 2);
  for (const { digest } of [...image.layers, image.config, ...other.layers]) assert.equal(registry.count(`/blobs/${digest}`), 1, digest);
  assert.equal((await node.left()).layers, 4);
});

test("credentials are part of who is pulling: a wrong one does not ride on a right one", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const ref = registry.add("app", "v1", image);
  const right = `Basic ${Buffer.from("me:right").toString("base64")}`;
  registry.intercept = (request, response) => {
    if (request.headers.authorization === right) return false;
    response.writeHead(401, { "www-authenticate": "Basic" }).end();
    return true;
  };
  const [good, bad, none] = await Promise.allSettled([
    node.images.pull(ref, { auth: { username: "me", password: "right" }, signal }),
    node.images.pull(ref, { auth: { username: "me", password: "wrong" }, signal }),
    node.images.pull(ref, { signal }),
  ]);
  assert.equal(good?.status, "fulfilled");
  assert.equal(bad?.status, "rejected");
  assert.equal(none?.status, "rejected");
  await assert.rejects(node.images.pull(ref, { auth: { username: "me", password: "wrong" }, signal }), (error) =>
    isKind(error, "unauthenticated"),
  );
});

test("the caller goes and nobody else waits: the pull ends, its parts wait for the next try", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const ref = registry.add("app", "v1", image);
  const big = image.layers[2];
  assert.ok(big);
  let stalled = false;
  registry.intercept = (request, response) => {
    if (!request.url.includes(big.digest) || stalled) return false;
    stalled = true;
    response.writeHead(200, { "content-length": big.size }).write(big.data.subarray(0, Math.floor(big.size / 2)));
    return true;
  };
  const caller = new AbortController();
  const pulling = node.images.pull(ref, { signal: caller.signal });
  while (!stalled) await sleep(5);
  await sleep(100);
  assert.equal(node.images.pulls()[0]?.blobs.find(({ digest }) => digest === big.digest)?.state, "downloading");
  caller.abort(new CridError("canceled", "gone"));
  await assert.rejects(pulling, (error) => isKind(error, "canceled"));
  const restarted = await node.restart();
  registry.requests.length = 0;
  await restarted.images.pull(ref, { signal });
  const ranges = registry.requests.filter(({ url }) => url.includes("/blobs/")).map(({ headers }) => headers.range);
  assert.deepEqual(ranges, [`bytes=${Math.floor(big.size / 2)}-`]);
  await restarted[Symbol.asyncDispose]();
});

test("one of two callers goes: the other gets the image", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const ref = registry.add("app", "v1", image);
  registry.intercept = async () => {
    await sleep(20);
    return false;
  };
  const caller = new AbortController();
  const leaving = node.images.pull(ref, { signal: caller.signal });
  const staying = node.images.pull(ref, { signal });
  setTimeout(() => caller.abort(new Error("gone")), 30);
  await assert.rejects(leaving, /gone/);
  assert.equal((await staying).id, image.config.digest);
  assert.equal(registry.count("/manifests/v1"), 1);
});

test("an image in use: gone from the lists, its layers stay until the container goes", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const ref = registry.add("app", "v1", image);
  const record = await node.images.pull(ref, { signal });
  const mounts = await node.images.rootfs("container-1", record);
  await node.images.remove(ref, { signal });
  assert.deepEqual(node.images.list(), []);
  assert.equal(node.images.get(record.id), undefined);
  assert.deepEqual(await node.left(), { ...nothing, layers: 3 });
  const restarted = await node.restart();
  assert.deepEqual(await restarted.images.rootfs("container-1", { ...record }), mounts);
  assert.equal((await restarted.left()).layers, 3);
  await restarted.images.releaseRootfs("container-1");
  assert.deepEqual(await restarted.left(), nothing);
  await assert.rejects(restarted.images.rootfs("container-2", record), (error) => isKind(error, "not-found"));
  await restarted[Symbol.asyncDispose]();
});

test("an image in use that is pulled again is a normal image", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const ref = registry.add("app", "v1", image);
  const record = await node.images.pull(ref, { signal });
  await node.images.rootfs("c", record);
  await node.images.remove(ref, { signal });
  await node.images.pull(ref, { signal });
  await node.images.releaseRootfs("c");
  assert.equal(node.images.get(ref)?.id, record.id);
  assert.equal((await node.left()).layers, 3);
});

test("an image as a volume: read-only, the same place twice, gone after release", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const record = await node.images.pull(registry.add("app", "v1", image), { signal });
  const single = await node.images.pull(registry.add("one", "v1", await makeTestImage({ layers: [base] })), { signal });
  const place = await node.images.mountVolume("c-volume-0", record);
  try {
    assert.equal(await node.images.mountVolume("c-volume-0", record), place);
    assert.equal(await readFile(join(place, "etc/base"), "utf8"), "base");
    assert.equal(await readFile(join(place, "etc/app"), "utf8"), "app");
    await assert.rejects(writeFile(join(place, "x"), ""), /EROFS/);
    const second = await node.images.mountVolume("c-volume-1", single);
    assert.equal(await readFile(join(second, "etc/base"), "utf8"), "base");
    await assert.rejects(writeFile(join(second, "x"), ""), /EROFS/);
    assert.deepEqual((await node.images.volumeKeys()).length, 2);
    await node.images.releaseVolume("c-volume-1");
    await node.images.releaseVolume("c-volume-0");
    await node.images.releaseVolume("c-volume-0");
    assert.deepEqual(await node.images.volumeKeys(), []);
    await assert.rejects(readFile(join(place, "etc/base")), /ENOENT/);
  } finally {
    for (const key of await node.images.volumeKeys()) detachAll(join(node.root, "volumes", key));
  }
});

test("fsInfo goes up with a pull and down with a removal", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const [before] = await node.images.fsInfo();
  const ref = registry.add("app", "v1", image);
  await node.images.pull(ref, { signal });
  const [during] = await node.images.fsInfo();
  await node.images.remove(ref, { signal });
  const [after] = await node.images.fsInfo();
  assert.ok(before && during && after);
  assert.ok(during.bytes > before.bytes + 700_000 && during.inodes > before.inodes);
  assert.deepEqual(after, before);
});

test("pinned by name and by pattern, as the configuration says now", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const ref = registry.add("app", "v1", image);
  assert.equal((await node.images.pull(ref, { signal })).pinned, false);
  const restarted = await node.restart({ pinned: [`${registry.host}/*`] });
  assert.equal(restarted.images.get(ref)?.pinned, true);
  assert.equal(restarted.images.list()[0]?.pinned, true);
  await restarted[Symbol.asyncDispose]();
});

test("discardUnpackedLayers: the blobs of layers go, the image stays, another pull fetches none", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode({ images: { discardUnpackedLayers: true } });
  const ref = registry.add("app", "v1", image);
  await node.images.pull(ref, { signal });
  assert.deepEqual(await node.left(), { blobs: 2, ingests: 0, leases: 0, layers: 3, staging: 0 });
  await node.images.pull(ref, { signal });
  for (const { digest } of image.layers) assert.equal(registry.count(digest), 1);
});

test("zstd and uncompressed layers", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  for (const compression of ["zstd", "none"] as const) {
    const item = await makeTestImage({ layers: [base, [{ name: "x", content: compression }]], compression });
    const record = await node.images.pull(registry.add("app", compression, item), { signal });
    assert.deepEqual(record.diffIds, item.diffIds);
  }
});
