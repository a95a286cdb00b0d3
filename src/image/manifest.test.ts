import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { digestOf } from "../base/digest.ts";
import { CridError, isKind } from "../base/errors.ts";
import { makeTestImage, makeTestIndex } from "../registry/testkit/test-image.ts";
import { chainIdsOf, parseImageConfig } from "./config.ts";
import { chooseManifest, parseManifest } from "./manifest.ts";
import type { Platform } from "./platform.ts";

const amd64: Platform = { os: "linux", architecture: "amd64", variant: "" };
const arm64: Platform = { os: "linux", architecture: "arm64", variant: "v8" };
const arm7: Platform = { os: "linux", architecture: "arm", variant: "v7" };
const image = await makeTestImage({ layers: [[{ name: "a" }], [{ name: "b" }]] });
const types = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
};

function parse(document: unknown, mediaType = ""): ReturnType<typeof parseManifest> {
  return parseManifest(Buffer.from(JSON.stringify(document)), mediaType, "manifest m");
}

function choose(host: Platform, platforms: (Partial<Platform> | undefined)[]): number {
  const manifests = platforms.map((platform, index) => ({
    mediaType: types.manifest,
    digest: digestOf(String(index)),
    size: index,
    platform,
  }));
  const index = parse({ manifests });
  assert.ok(index.kind === "index");
  return chooseManifest(index, host, "index i").size;
}

test("OCI and docker manifests, with or without a media type", async () => {
  const docker = await makeTestImage({ layers: [[{ name: "a" }]], docker: true });
  for (const { manifest, layers, config } of [image, docker]) {
    for (const type of [manifest.mediaType, "", "application/json", "text/plain"]) {
      const parsed = parseManifest(manifest.data, type, "m");
      assert.ok(parsed.kind === "manifest");
      assert.deepEqual(
        parsed.layers.map(({ digest }) => digest),
        layers.map(({ digest }) => digest),
      );
      assert.equal(parsed.config.digest, config.digest);
    }
  }
});

test("the platform that fits best", () => {
  assert.equal(
    choose(amd64, [
      { os: "linux", architecture: "arm64" },
      { os: "linux", architecture: "amd64" },
    ]),
    1,
  );
  assert.equal(
    choose(amd64, [
      { os: "windows", architecture: "amd64" },
      { os: "linux", architecture: "386" },
    ]),
    1,
  );
  assert.equal(
    choose(amd64, [
      { os: "linux", architecture: "386" },
      { os: "linux", architecture: "amd64", variant: "v1" },
    ]),
    1,
  );
  assert.equal(
    choose(arm64, [
      { os: "linux", architecture: "arm", variant: "v7" },
      { os: "linux", architecture: "arm64", variant: "v8" },
    ]),
    1,
  );
  assert.equal(
    choose(arm64, [
      { os: "linux", architecture: "arm", variant: "v6" },
      { os: "linux", architecture: "arm", variant: "v7" },
    ]),
    1,
  );
  assert.equal(
    choose(arm7, [
      { os: "linux", architecture: "arm", variant: "v5" },
      { os: "linux", architecture: "arm", variant: "v8" },
      { os: "linux", architecture: "arm", variant: "v6" },
    ]),
    2,
  );
  assert.equal(
    choose(arm7, [
      { os: "linux", architecture: "arm" },
      { os: "linux", architecture: "arm", variant: "v6" },
    ]),
    0,
  );
  assert.equal(choose(amd64, [undefined, { os: "linux", architecture: "amd64" }]), 1);
  assert.equal(choose(amd64, [{ os: "unknown", architecture: "unknown" }, undefined]), 1);
  assert.throws(
    () =>
      choose(amd64, [
        { os: "linux", architecture: "amd64", variant: "v4" },
        { os: "unknown", architecture: "unknown" },
      ]),
    (error) => {
      assert.ok(isKind(error, "not-found"));
      assert.match(error.message, /no image for linux\/amd64; there is linux\/amd64\/v4$/);
      return true;
    },
  );
  assert.throws(() => choose(amd64, []), /none at all/);
  // What demands more than a system of its name has is for another runtime, as images of EROFS layers are.
  const erofs = { os: "linux", architecture: "amd64", "os.features": ["erofs"] };
  assert.equal(choose(amd64, [erofs, { os: "linux", architecture: "amd64" }]), 1);
  assert.equal(choose(amd64, [{ os: "linux", architecture: "amd64", "os.features": [] } as Partial<Platform>, undefined]), 0);
  assert.throws(() => choose(amd64, [erofs]), /there is linux\(\+erofs\)\/amd64$/);
});

test("documents that are two things, or say they are another, are refused", () => {
  const { config, layers } = image;
  const describe = ({ mediaType, digest, size }: { mediaType: string; digest: string; size: number }): object => ({
    mediaType,
    digest,
    size,
  });
  const manifest = { config: describe(config), layers: layers.map(describe) };
  const bad: [unknown, string, RegExp][] = [
    [{ ...manifest, manifests: [] }, "", /a manifest and an index at once/],
    [manifest, types.index, /says it is an index/],
    [{ ...manifest, mediaType: types.index }, types.manifest, /says it is an index/],
    [{ manifests: [] }, types.manifest, /says it is a manifest/],
    [{}, "", /neither a manifest nor an index/],
    [[], "", /not a JSON object/],
    [null, "", /not a JSON object/],
    [{ ...manifest, layers: undefined }, "", /layers/],
    [{ ...manifest, layers: [{ mediaType: "x", digest: "sha256:short", size: 1 }] }, "", /layers\.0\.digest/],
    [{ ...manifest, layers: [{ mediaType: "x", digest: config.digest, size: -1 }] }, "", /layers\.0\.size/],
    [{ ...manifest, layers: [{ mediaType: "x", digest: config.digest, size: 1e300 }] }, "", /layers\.0\.size/],
    [{ ...manifest, layers: Array.from({ length: 501 }, () => layers[0]).map((layer) => layer && describe(layer)) }, "", /layers/],
  ];
  for (const [document, type, why] of bad)
    assert.throws(
      () => parse(document, type),
      (error) => isKind(error, "data-loss") && why.test(error.message),
      String(why),
    );
  const unknown = { ...manifest, layers: [{ mediaType: "application/vnd.in-toto+json", digest: config.digest, size: 1 }] };
  assert.throws(
    () => parse(unknown),
    (error) => isKind(error, "unimplemented") && /unknown type/.test(error.message),
  );
  const encrypted = {
    ...manifest,
    layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar+gzip+encrypted", digest: config.digest, size: 1 }],
  };
  assert.throws(
    () => parse(encrypted),
    (error) => isKind(error, "unimplemented") && /encrypted/.test(error.message),
  );
});

test("configs: nulls of docker, wrong number of layers, other platform", () => {
  const read = (document: unknown, layers = 1): ReturnType<typeof parseImageConfig> =>
    parseImageConfig(Buffer.from(JSON.stringify(document)), { layers, host: amd64, what: "config c" });
  const rootfs = { type: "layers", diff_ids: [digestOf("a")] };
  const empty = { User: null, Env: null, Entrypoint: null, Cmd: null, WorkingDir: null, Labels: null, Volumes: null };
  assert.deepEqual(
    read({ os: "linux", architecture: "amd64", config: empty, rootfs }),
    read({ os: "linux", architecture: "amd64", rootfs }),
  );
  assert.throws(
    () => read({ rootfs }, 2),
    (error) => isKind(error, "data-loss"),
  );
  assert.throws(
    () => read({ os: "linux", architecture: "s390x", rootfs }),
    (error) => isKind(error, "failed-precondition"),
  );
  assert.throws(
    () => read({ rootfs: { type: "layers", diff_ids: ["x"] } }),
    (error) => isKind(error, "data-loss"),
  );
  assert.throws(
    () => read({ rootfs: { type: "other", diff_ids: [] } }, 0),
    (error) => isKind(error, "data-loss"),
  );
});

test("chain ids as the spec computes them", () => {
  assert.deepEqual(chainIdsOf([]), []);
  assert.deepEqual(chainIdsOf(["sha256:a"]), ["sha256:a"]);
  const [, second, third] = chainIdsOf(["sha256:a", "sha256:b", "sha256:c"]);
  assert.equal(second, digestOf("sha256:a sha256:b"));
  assert.equal(third, digestOf(`${second} sha256:c`));
});

test("a manifest with a byte changed is read or refused", () => {
  const documents = [image.manifest.data, image.config.data, makeTestIndex([{ image, architecture: "amd64" }]).data];
  const edit = fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }), remove: fc.nat({ max: 3 }) });
  fc.assert(
    fc.property(fc.constantFrom(...documents), fc.array(edit, { minLength: 1, maxLength: 4 }), (document, edits) => {
      let bytes = Buffer.from(document);
      for (const { at, byte, remove } of edits) {
        const place = at % bytes.length;
        bytes = Buffer.concat([bytes.subarray(0, place), Buffer.from([byte]), bytes.subarray(place + remove)]);
      }
      for (const read of [() => parseManifest(bytes, "", "m"), () => parseImageConfig(bytes, { layers: 2, host: amd64, what: "c" })]) {
        try {
          read();
        } catch (error) {
          assert.ok(error instanceof CridError, String(error));
        }
      }
    }),
    { numRuns: 1000 },
  );
});

test("any JSON is read or refused", () => {
  const keys = fc.constantFrom(
    "manifests",
    "config",
    "layers",
    "mediaType",
    "digest",
    "size",
    "platform",
    "rootfs",
    "diff_ids",
    "__proto__",
    "constructor",
  );
  const json = fc.letrec((tie) => ({
    value: fc.oneof({ depthSize: "small" }, fc.constantFrom(null, 1, -1, "", "x", true, image.config.digest), tie("list"), tie("object")),
    list: fc.array(tie("value"), { maxLength: 3 }),
    object: fc.dictionary(keys, tie("value"), { maxKeys: 4 }),
  })).value;
  fc.assert(
    fc.property(json, (document) => {
      try {
        parse(document);
      } catch (error) {
        assert.ok(error instanceof CridError, String(error));
      }
    }),
  );
});
