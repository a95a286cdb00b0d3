import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { pack } from "tar-stream";
import { digestOf } from "../base/digest.ts";
import { isKind } from "../base/errors.ts";
import { FakeRegistry } from "../registry/testkit/fake-registry.ts";
import { describe, hostArchitecture, makeTestImage, makeTestIndex, type TestBlob, type TestImage } from "../registry/testkit/test-image.ts";
import { type ImageNode, startNode } from "./testkit.ts";

const signal = AbortSignal.timeout(120_000);
const nothing = { blobs: 0, ingests: 0, leases: 0, layers: 0, staging: 0 };

const image = await makeTestImage({
  layers: [[{ name: "etc/", type: "directory" }], [{ name: "etc/app", content: "app" }]],
  config: { Cmd: ["sh"] },
});
const plain = await makeTestImage({
  layers: [[{ name: "a", content: "a" }], [{ name: "b", content: "b" }]],
  compression: "none",
  docker: true,
});
const foreign = await makeTestImage({ layers: [[{ name: "s390x", content: "x" }]], architecture: "s390x" });

type Entry = { name: string; content: string | Buffer } | { name: string; link: string; hard?: boolean };

async function tar(entries: Entry[]): Promise<Buffer> {
  const packed = pack();
  for (const entry of entries) {
    if ("content" in entry) packed.entry({ name: entry.name }, Buffer.from(entry.content));
    else packed.entry({ name: entry.name, type: entry.hard === true ? "link" : "symlink", linkname: entry.link });
  }
  packed.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of packed as unknown as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const blobEntry = ({ digest, data }: TestBlob): Entry => ({ name: `blobs/${digest.replace(":", "/")}`, content: data });

/** An OCI layout. */
function layout(entries: (ReturnType<typeof describe> & Record<string, unknown>)[], blobs: TestBlob[]): Entry[] {
  return [
    { name: "oci-layout", content: '{"imageLayoutVersion":"1.0.0"}' },
    ...blobs.map(blobEntry),
    { name: "index.json", content: JSON.stringify({ schemaVersion: 2, manifests: entries }) },
  ];
}

const partsOf = (one: TestImage): TestBlob[] => [one.manifest, one.config, ...one.layers];
const named = (manifest: TestBlob, name: string) => ({ ...describe(manifest), annotations: { "io.containerd.image.name": name } });

/** What docker save wrote before version 25. */
function dockerSave(one: TestImage, tags: string[], more: Record<string, string> = {}): Entry[] {
  const layers = one.layers.map(({ data }, index) => ({ name: `${index}`.repeat(64).slice(0, 64), data }));
  return [
    { name: `${one.config.digest.slice(7)}.json`, content: one.config.data },
    ...layers.flatMap(({ name, data }): Entry[] => [
      { name: `${name}/VERSION`, content: "1.0" },
      { name: `${name}/json`, content: "{}" },
      { name: `${name}/layer.tar`, content: data },
    ]),
    {
      name: "manifest.json",
      content: JSON.stringify([
        { Config: `${one.config.digest.slice(7)}.json`, RepoTags: tags, Layers: layers.map(({ name }) => `${name}/layer.tar`), ...more },
      ]),
    },
  ];
}

async function* pieces(data: Buffer, size = 10_000): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size);
}

async function collect(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function content(node: ImageNode, ref: string, file: string): Promise<string> {
  const { path } = await node.images.mount(ref);
  const text = await readFile(join(path, file), "utf8");
  await node.images.unmount(path);
  return text;
}

test("an OCI layout, plain and compressed: the image has the name, the digests and the files", async () => {
  const archive = await tar(layout([named(image.manifest, "docker.io/library/app:v1")], partsOf(image)));
  for (const data of [archive, gzipSync(archive), zstdCompressSync(archive)]) {
    await using node = await startNode();
    const [record, ...others] = await node.images.import(pieces(data), { signal });
    assert.deepEqual(others, []);
    assert.equal(record?.id, image.config.digest);
    assert.deepEqual(record?.repoTags, ["docker.io/library/app:v1"]);
    assert.deepEqual(record?.repoDigests, [`docker.io/library/app@${image.manifest.digest}`]);
    assert.equal(record?.manifestDigest, image.manifest.digest);
    assert.equal(await content(node, "app:v1", "etc/app"), "app");
    assert.deepEqual(await node.left(), { blobs: 4, ingests: 0, leases: 0, layers: 2, staging: 0 });
    await node.images.remove("app:v1", { signal });
    assert.deepEqual(await node.left(), nothing);
  }
});

test("what docker save writes: names from RepoTags, ids as docker's, layers through links", async () => {
  await using node = await startNode();
  const entries = dockerSave(plain, ["app:v1", "registry.example/app:v2"]);
  // Old docker writes a layer that two images share as a link to the first.
  const linked = entries.map(
    (entry): Entry => (entry.name === `${"1".repeat(64)}/layer.tar` ? { name: entry.name, link: `../${"2".repeat(64)}/layer.tar` } : entry),
  );
  linked.unshift({ name: `./${"2".repeat(64)}/layer.tar`, content: plain.layers[1]?.data ?? "" });
  const [record] = await node.images.import(pieces(await tar(linked)), { signal });
  assert.equal(record?.id, plain.config.digest);
  assert.deepEqual(record?.repoTags, ["docker.io/library/app:v1", "registry.example/app:v2"]);
  assert.deepEqual(record?.repoDigests, []);
  assert.deepEqual(record?.diffIds, plain.diffIds);
  assert.equal(await content(node, "app:v1", "b"), "b");
  assert.equal((await node.left()).blobs, 4);
  const again = await node.images.import(pieces(await tar(entries)), { signal });
  assert.equal(again[0]?.manifestDigest, record?.manifestDigest);
  assert.deepEqual(await node.left(), { blobs: 4, ingests: 0, leases: 0, layers: 2, staging: 0 });
});

test("an index: this node's platform, another one, or all of them", async () => {
  const index = makeTestIndex([
    { image: foreign, architecture: "s390x" },
    { image, architecture: hostArchitecture },
  ]);
  const archive = await tar(layout([named(index, "docker.io/library/multi:1")], [index, ...partsOf(image), ...partsOf(foreign)]));
  await using node = await startNode();
  const [record] = await node.images.import(pieces(archive), { signal });
  assert.equal(record?.id, image.config.digest);
  assert.deepEqual(record?.repoDigests, [`docker.io/library/multi@${index.digest}`]);
  assert.equal((await node.left()).blobs, 5);
  await assert.rejects(collect(node.images.export(["multi:1"], { allPlatforms: true, signal })), { kind: "failed-precondition" });

  const [all] = await node.images.import(pieces(archive), { allPlatforms: true, signal });
  assert.equal(all?.id, image.config.digest);
  assert.equal((await node.left()).blobs, 8);
  const exported = await collect(node.images.export(["multi:1"], { allPlatforms: true, signal }));
  await using other = await startNode();
  const platform = { os: "linux", architecture: "s390x", variant: "" };
  const [back] = await other.images.import(pieces(exported), { platform, signal });
  assert.equal(back?.id, foreign.config.digest);
  assert.deepEqual(back?.repoDigests, [`docker.io/library/multi@${index.digest}`]);
  assert.equal(await content(other, "multi:1", "s390x"), "x");
  await node.images.remove("multi:1", { signal });
  assert.deepEqual(await node.left(), nothing);

  const onlyForeign = await tar(layout([named(index, "docker.io/library/multi:1")], [index, ...partsOf(foreign)]));
  await assert.rejects(node.images.import(pieces(onlyForeign), { signal }), { kind: "not-found" });
  assert.deepEqual(await node.left(), nothing);
});

test("names: a tag alone, one given from outside, none, several images", async () => {
  await using node = await startNode();
  const tagOnly = await tar(
    layout([{ ...describe(image.manifest), annotations: { "org.opencontainers.image.ref.name": "v7" } }], partsOf(image)),
  );
  const [unnamed] = await node.images.import(pieces(tagOnly), { signal });
  assert.deepEqual([unnamed?.repoTags, unnamed?.repoDigests], [[], []]);
  const [byTag] = await node.images.import(pieces(tagOnly), { name: "registry.example/base", signal });
  assert.deepEqual(byTag?.repoTags, ["registry.example/base:v7"]);
  const [byName] = await node.images.import(pieces(tagOnly), { name: "other:v1", signal });
  assert.deepEqual(byName?.repoTags, ["docker.io/library/other:v1", "registry.example/base:v7"]);
  const edited = await tar(
    layout(
      [
        named(plain.manifest, "docker.io/library/kept:1"),
        {
          ...named(image.manifest, "docker.io/library/kept:1"),
          annotations: { "io.containerd.image.name": "docker.io/library/kept:1", "org.opencontainers.image.ref.name": "2" },
        },
      ],
      [...partsOf(image), ...partsOf(plain)],
    ),
  );
  await node.images.import(pieces(edited), { signal });
  assert.equal(node.images.get("kept:1")?.id, plain.config.digest);
  assert.equal(node.images.get("kept:2")?.id, image.config.digest, "umoci's copy of an entry with another tag");
  const two = await tar(
    layout(
      [named(image.manifest, "docker.io/library/one:1"), named(plain.manifest, "docker.io/library/two:2")],
      [...partsOf(image), ...partsOf(plain)],
    ),
  );
  await assert.rejects(node.images.import(pieces(two), { name: "all:1", signal }), { kind: "invalid-argument", message: /2 images/ });
  const both = await node.images.import(pieces(two), { signal });
  assert.deepEqual(
    both.map(({ id }) => id),
    [image.config.digest, plain.config.digest],
  );
  assert.equal(node.images.get("one:1")?.id, image.config.digest);
});

test("what we export we import, with the same id and digests; the same image gives the same bytes", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode();
  const ref = registry.add("team/app", "v1", image);
  const record = await node.images.pull(ref, { signal });
  node.images.tag(ref, "second:2");
  await node.images.import(pieces(await tar(dockerSave(plain, ["plain:1"]))), { signal });
  const archive = await collect(node.images.export([record.id, "plain:1"], { allPlatforms: false, signal }));
  assert.deepEqual(await collect(node.images.export(["plain:1", record.id], { allPlatforms: false, signal })), archive);
  await using other = await startNode({ form: "erofs" });
  const imported = await other.images.import(pieces(archive), { signal });
  const tagsById = new Map(imported.map(({ id, repoTags }) => [id, repoTags]));
  assert.deepEqual(tagsById.get(plain.config.digest), ["docker.io/library/plain:1"]);
  assert.deepEqual(tagsById.get(image.config.digest), ["docker.io/library/second:2", ref].sort());
  assert.deepEqual((await other.left()).ingests, 0);
  const [single] = await (async () => {
    await using third = await startNode();
    return await third.images.import(pieces(await collect(node.images.export([ref], { signal }))), { signal });
  })();
  assert.deepEqual(single?.repoTags, [ref]);
  await assert.rejects(collect(node.images.export(["nothing:1"], { signal })), { kind: "not-found" });
  assert.equal((await node.left()).leases, 0);
});

test("an export of an image whose layers' blobs were dropped says so", async () => {
  await using registry = await FakeRegistry.start();
  await using node = await startNode({ images: { discardUnpackedLayers: true } });
  const ref = registry.add("team/app", "v1", image);
  await node.images.pull(ref, { signal });
  await assert.rejects(collect(node.images.export([ref], { signal })), { kind: "failed-precondition", message: /discardUnpackedLayers/ });
  assert.deepEqual((await node.left()).leases, 0);
});

const hostile: [string, () => Promise<Buffer> | Buffer, RegExp][] = [
  ["nothing", () => Buffer.alloc(0), /is empty/],
  ["zeros", () => Buffer.alloc(10_240), /no image in it/],
  ["text", () => Buffer.from("hello world"), /./],
  ["gzip that is cut", async () => gzipSync(await tar(layout([], []))).subarray(0, 60), /./],
  ["gzip that is damaged", async () => damage(gzipSync(await tar(layout([], partsOf(image))))), /./],
  ["a tar that is cut", async () => (await tar(layout([], partsOf(image)))).subarray(0, 1000), /./],
  ["a link out of it", () => tar([{ name: "a/layer.tar", link: "../../etc/shadow" }]), /outside of the archive/],
  ["an absolute link", () => tar([{ name: "layer.tar", link: "/etc/shadow" }]), /outside of the archive/],
  ["a hard link out of it", () => tar([{ name: "layer.tar", link: "../x", hard: true }]), /outside of the archive/],
  [
    "links in a circle",
    () =>
      tar([
        ...dockerSave(plain, []).slice(-1),
        { name: `${plain.config.digest.slice(7)}.json`, link: "x" },
        { name: "x", link: `${plain.config.digest.slice(7)}.json` },
      ]),
    /links do not end/,
  ],
  ["a path out of it", () => tar([{ name: "../../x", content: "x" }]), /points outside/],
  [
    "a file twice",
    () =>
      tar([
        { name: "manifest.json", content: "[]" },
        { name: "manifest.json", content: "[]" },
      ]),
    /twice/,
  ],
  ["a blob that lies", () => tar([{ name: `blobs/sha256/${"a".repeat(64)}`, content: "x" }]), /lies about its content/],
  ["huge JSON", () => tar([{ name: "manifest.json", content: Buffer.alloc(5_000_000, " ") }]), /more than 4194304/],
  ["no JSON", () => tar([{ name: "manifest.json", content: "[" }]), /not JSON/],
  ["an object for a list", () => tar([{ name: "manifest.json", content: "{}" }]), /manifest\.json/],
  [
    "a layer that is not there",
    () =>
      tar([
        { name: "c", content: "{}" },
        { name: "manifest.json", content: '[{"Config":"c","Layers":["l"]}]' },
      ]),
    /"l", which is not in the archive/,
  ],
  ["a config that is not there", () => tar([{ name: "manifest.json", content: '[{"Config":"../../etc/passwd"}]' }]), /points outside/],
  ["a layer that is another", async () => tar(dockerSave({ ...plain, layers: [...plain.layers].reverse() }, ["x:1"])), /diff id/],
  ["a name that is none", async () => tar(dockerSave(plain, ["app/Upper:1"])), /./],
  ["a manifest that is not there", () => tar(layout([named(image.manifest, "x:1")], [image.config])), /not in the archive/],
  ["a wrong size", () => tar(layout([{ ...named(image.manifest, "x:1"), size: 5 }], partsOf(image))), /not 5/],
  ["a layer missing", () => tar(layout([named(image.manifest, "x:1")], [image.manifest, image.config])), /not in the archive/],
  [
    "a layout of the future",
    () =>
      tar([
        { name: "oci-layout", content: '{"imageLayoutVersion":"2.0.0"}' },
        { name: "index.json", content: '{"manifests":[]}' },
      ]),
    /version "2\.0\.0"/,
  ],
  ["docker of 2014", () => tar([{ name: "repositories", content: "{}" }]), /docker before 1\.10/],
];

test("hostile and broken archives: a clear error, nothing kept", async () => {
  await using node = await startNode();
  for (const [what, make, expected] of hostile) {
    await assert.rejects(
      node.images.import(pieces(await make()), { signal }),
      (error) => {
        assert.ok(isKind(error, "invalid-argument") || isKind(error, "unimplemented"), `${what}: ${String(error)}`);
        assert.match((error as Error).message, expected, what);
        assert.match((error as Error).message, /^import: /);
        return true;
      },
      what,
    );
    assert.deepEqual(await node.left(), nothing, what);
    assert.deepEqual(node.images.list(), [], what);
  }
});

test("an archive over the limit, and a caller that goes", async () => {
  await using node = await startNode({ images: { unpackLimits: { maxBytes: 100_000, maxEntries: 1000 } } });
  const bomb = gzipSync(await tar([{ name: "x", content: Buffer.alloc(1_000_000) }]));
  await assert.rejects(node.images.import(pieces(bomb), { signal }), /unpacks to more than 100000 bytes/);
  const gone = new AbortController();
  async function* slow(): AsyncGenerator<Buffer> {
    yield* pieces((await tar(layout([], partsOf(image)))).subarray(0, 2000), 700);
    gone.abort(new Error("gone"));
    yield Buffer.alloc(512);
  }
  await assert.rejects(node.images.import(slow(), { signal: gone.signal }), /gone/);
  assert.deepEqual(await node.left(), nothing);
});

test("blobs that are here are not written again, and are looked at once more before they are used", async () => {
  await using node = await startNode();
  const archive = await tar(layout([named(image.manifest, "docker.io/library/app:v1")], partsOf(image)));
  await node.images.import(pieces(archive), { signal });
  const racing = async function* (): AsyncGenerator<Buffer> {
    yield* pieces(archive);
    await node.images.remove("app:v1", { signal });
  };
  await assert.rejects(node.images.import(racing(), { signal }), { kind: "aborted", message: /import it again/ });
  assert.deepEqual(await node.left(), nothing);
  await node.images.import(pieces(archive), { signal });
  assert.equal(digestOf(image.config.data), node.images.get("app:v1")?.id);
});

function damage(data: Buffer): Buffer {
  const copy = Buffer.from(data);
  copy.fill(0x55, 40, 60);
  return copy;
}
