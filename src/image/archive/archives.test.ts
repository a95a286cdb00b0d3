import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { type RawEntry, rawTar } from "../../archive/testkit.ts";
import { CridError } from "../../base/errors.ts";
import { silentLogger } from "../../base/log.ts";
import { ContentStore } from "../../content/content-store.ts";
import { describe, hostArchitecture, makeTestImage, makeTestIndex, type TestBlob } from "../../registry/testkit/test-image.ts";
import type { ArchivedImage } from "./archived-image.ts";
import { readDockerArchive } from "./docker-archive.ts";
import { readOciLayout } from "./oci-layout.ts";
import { StagedArchive } from "./staged-archive.ts";

const root = await mkdtemp(join(tmpdir(), "crid-archives-"));
after(() => rm(root, { recursive: true, force: true }));
const content = await ContentStore.open({ root, log: silentLogger() });
const signal = AbortSignal.timeout(300_000);
const platform = { os: "linux", architecture: hostArchitecture, variant: "" };
const image = await makeTestImage({ layers: [[{ name: "a", content: "a" }], [{ name: "b", content: "b" }]] });
const index = makeTestIndex([{ image, architecture: hostArchitecture }]);
const blobs: TestBlob[] = [index, image.manifest, image.config, ...image.layers];
const blobEntries = blobs.map(({ digest, data }): RawEntry => ({ name: `blobs/${digest.replace(":", "/")}`, body: data }));
const configPath = `blobs/sha256/${image.config.digest.slice(7)}`;
const layerPaths = image.layers.map(({ digest }) => `blobs/sha256/${digest.slice(7)}`);
const json = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("latin1");

const names = { "io.containerd.image.name": "docker.io/library/app:v1" };
const layout: RawEntry[] = [
  { name: "oci-layout", body: json({ imageLayoutVersion: "1.0.0" }) },
  { name: "index.json", body: json({ schemaVersion: 2, manifests: [{ ...describe(index), annotations: names }] }) },
];
const docker: RawEntry[] = [{ name: "manifest.json", body: json([{ Config: configPath, RepoTags: ["app:v1"], Layers: layerPaths }]) }];

/** As an import reads it, up to where it looks at configs and layers. Nothing of it stays. */
async function read(archive: Buffer): Promise<ArchivedImage[] | undefined> {
  async function* source(): AsyncGenerator<Buffer> {
    for (let at = 0; at < archive.length; at += 5000) yield archive.subarray(at, at + 5000);
  }
  try {
    await using staged = await StagedArchive.read(source(), { content, limits: { maxBytes: 1 << 24, maxEntries: 100 }, signal });
    return (await readOciLayout(staged, { platform, allPlatforms: true })) ?? (await readDockerArchive(staged));
  } finally {
    assert.deepEqual(await readdir(join(root, "ingest")), []);
  }
}

let found = 0;
const kinds = new Set(["invalid-argument", "data-loss", "unimplemented", "not-found"]);
/** Images, or an error that says it is the archive's fault. */
async function readOrRefused(archive: Buffer): Promise<void> {
  try {
    const images = (await read(archive)) ?? [];
    if (images.length > 0) found++;
    for (const { manifest, tags } of images) assert.ok(manifest.kind === "manifest" && tags.every((tag) => /^[^/]+\/.+:.+$/.test(tag)));
  } catch (error) {
    assert.ok(error instanceof CridError && kinds.has(error.kind), String(error));
    assert.ok(error.message.length < 2000);
  }
}

test("what the two forms say is read: one image, however it is called", async () => {
  for (const form of [layout, docker, [...layout, ...docker]]) {
    const [one, ...others] = (await read(rawTar(...blobEntries, ...form))) ?? [];
    assert.deepEqual([others, one?.tags], [[], ["docker.io/library/app:v1"]]);
    assert.deepEqual(
      [one?.manifest.config.digest, one?.manifest.layers.map(({ digest }) => digest)],
      [image.config.digest, image.layers.map(({ digest }) => digest)],
    );
  }
  const tag = fc.stringMatching(/^[a-z0-9]{1,8}(\/[a-z0-9]{1,8}){0,2}:[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}$/);
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(tag, { maxLength: 3 }), async (tags) => {
      const manifest = { name: "manifest.json", body: json([{ Config: configPath, RepoTags: tags, Layers: layerPaths }]) };
      const [one] = (await read(rawTar(...blobEntries, manifest))) ?? [];
      assert.deepEqual(
        one?.tags,
        tags.map((text) => (text.includes("/") ? `docker.io/${text}` : `docker.io/library/${text}`)),
      );
    }),
    { numRuns: 20 },
  );
});

test("any documents are read or refused: manifest.json, index.json, oci-layout, and links instead of them", async () => {
  const digests = blobs.map(({ digest }) => digest);
  const leaf = fc.constantFrom<unknown>(
    ...[
      null,
      0,
      -1,
      1e300,
      "",
      "x",
      "..",
      "/etc/shadow",
      "a:b:c",
      "app:v1",
      "\ud800",
      true,
      "1.0.0",
      "linux",
      hostArchitecture,
      configPath,
      ...layerPaths,
      ...digests,
    ],
    ...blobs.map(({ size }) => size),
    ...blobs.map(describe),
    { ...describe(index), annotations: { ...names, "org.opencontainers.image.ref.name": "v2" } },
    { ...describe(image.manifest), platform: { os: "linux", architecture: hostArchitecture, "os.features": ["x"] } },
    { Config: configPath, RepoTags: null, Layers: layerPaths },
  );
  const keys = fc.constantFrom(
    ...[
      "manifests",
      "mediaType",
      "digest",
      "size",
      "annotations",
      "platform",
      "imageLayoutVersion",
      "Config",
      "RepoTags",
      "Layers",
      "__proto__",
      "constructor",
    ],
    ...Object.keys(names),
    "org.opencontainers.image.ref.name",
  );
  const document = fc.letrec((tie) => ({
    value: fc.oneof({ depthSize: "small" }, leaf, tie("list"), tie("object")),
    list: fc.array(tie("value"), { maxLength: 4 }),
    object: fc.dictionary(keys, tie("value"), { maxKeys: 5 }),
  })).value;
  const fits = fc.oneof(
    document,
    fc.array(leaf, { maxLength: 3 }),
    fc.record({ manifests: fc.array(leaf, { maxLength: 4 }) }),
    fc.record({ imageLayoutVersion: leaf }),
  );
  const body = fc.oneof({ arbitrary: fits.map(json), weight: 5 }, fc.string());
  const special = (name: string): fc.Arbitrary<RawEntry[]> =>
    fc.oneof(
      { arbitrary: fc.constant([...layout, ...docker].filter((entry) => entry.name === name)), weight: 2 },
      { arbitrary: body.map((text): RawEntry[] => [{ name, body: text }]), weight: 4 },
      fc.constantFrom<RawEntry[]>(
        [],
        [{ name, flag: "2", linkName: name }],
        [{ name, flag: "2", linkName: configPath }],
        [{ name, flag: "1", linkName: "absent" }],
      ),
    );
  found = 0;
  await fc.assert(
    fc.asyncProperty(special("oci-layout"), special("index.json"), special("manifest.json"), async (...entries) =>
      readOrRefused(rawTar(...blobEntries, ...entries.flat())),
    ),
    { numRuns: 600 },
  );
  assert.ok(found > 20, `${found} were images`);
});

test("an archive with bytes changed, cut or twice is read or refused", async () => {
  const archives = [rawTar(...layout, ...blobEntries), rawTar(...docker, ...blobEntries)];
  const edits = fc.array(fc.record({ at: fc.nat(), byte: fc.nat({ max: 255 }) }), { maxLength: 3 });
  found = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...archives),
      edits,
      fc.option(fc.nat(), { freq: 4 }),
      fc.boolean(),
      async (archive, changes, cut, twice) => {
        const bytes = Buffer.from(archive.subarray(0, cut === null ? archive.length : cut % archive.length));
        for (const { at, byte } of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte;
        await readOrRefused(twice ? Buffer.concat([bytes.subarray(0, -1024), bytes]) : bytes);
      },
    ),
    { numRuns: 400 },
  );
  assert.ok(found > 5, `${found} were images`);
});
