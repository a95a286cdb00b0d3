import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isKind } from "../base/errors.ts";
import { familiarReference, formatReference, parseReference } from "./reference.ts";

const hex = "a".repeat(64);

test("fills in docker.io, library and latest", () => {
  const full: [string, string, string][] = [
    ["busybox", "docker.io/library/busybox:latest", "busybox:latest"],
    ["busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"],
    ["docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"],
    ["index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest"],
    ["user/app:2", "docker.io/user/app:2", "user/app:2"],
    ["localhost/app", "localhost/app:latest", "localhost/app:latest"],
    ["localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"],
    ["127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest", "127.0.0.1:5000/a/b/c:latest"],
    ["[fc00::1]:5000/docker", "[fc00::1]:5000/docker:latest", "[fc00::1]:5000/docker:latest"],
    ["LOCALDOMAIN/debian", "LOCALDOMAIN/debian:latest", "LOCALDOMAIN/debian:latest"],
    ["192.168.0.1", "docker.io/library/192.168.0.1:latest", "192.168.0.1:latest"],
    ["library/foo/bar", "docker.io/library/foo/bar:latest", "library/foo/bar:latest"],
    [`busybox@sha256:${hex}`, `docker.io/library/busybox@sha256:${hex}`, `busybox@sha256:${hex}`],
    ["registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"],
    ["a__b/c-d---e_f.g", "docker.io/a__b/c-d---e_f.g:latest", "a__b/c-d---e_f.g:latest"],
    [`docker.io/${"1a3f5e7d".repeat(8)}`, `docker.io/library/${"1a3f5e7d".repeat(8)}:latest`, `${"1a3f5e7d".repeat(8)}:latest`],
  ];
  for (const [text, canonical, familiar] of full) {
    assert.equal(formatReference(parseReference(text)), canonical);
    assert.equal(familiarReference(parseReference(text)), familiar);
  }
});

test("a digest beside a tag decides, and the tag is dropped from the stored form", () => {
  const ref = parseReference(`busybox:1.36@sha256:${hex}`);
  assert.equal(ref.tag, "1.36");
  assert.equal(formatReference(ref), `docker.io/library/busybox@sha256:${hex}`);
});

test("refuses what distribution/reference refuses", () => {
  const bad = [
    "",
    " ",
    "https://github.com/docker/docker",
    "docker/Docker",
    "-docker",
    "docker-/docker",
    "docker///docker",
    "docker/",
    "/docker",
    "dock..er/docker",
    "_docker/_docker",
    "[fc00::1]",
    "[fc00::1]:5000",
    "fc00::1:5000/debian",
    "[fe80::1%eth0]:5000/debian",
    "1a3f5e7d".repeat(8),
    "a".repeat(256),
    "a:",
    "a:-x",
    `a:${"t".repeat(129)}`,
    "a@",
    "a@sha256:abc",
    `a@sha256:${"A".repeat(64)}`,
    `a@md5:${"a".repeat(32)}`,
    `a@sha256:${hex}@sha256:${hex}`,
    "a:b:c",
    "foo_bar.x/image",
    "host:port/image",
    "a\nb",
    "a b",
    "ä",
  ];
  for (const text of bad)
    assert.throws(
      () => parseReference(text),
      (error) => isKind(error, "invalid-argument"),
      text,
    );
});

const alnum = fc.stringMatching(/^[a-z0-9]{1,8}$/);
const component = fc
  .tuple(alnum, fc.array(fc.tuple(fc.constantFrom(".", "_", "__", "-", "--"), alnum), { maxLength: 2 }))
  .map(([head, tail]) => head + tail.flat().join(""));
const domain = fc.oneof(
  fc.constantFrom("docker.io", "localhost", "localhost:5000", "[::1]:80", "Host"),
  fc.tuple(alnum, alnum).map(([a, b]) => `${a}.${b}:5000`),
);
const path = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}$/);

test("the full form of any valid reference parses to itself", () => {
  fc.assert(
    fc.property(domain, path, fc.option(tag, { nil: undefined }), fc.boolean(), (host, repo, maybeTag, byDigest) => {
      const text = `${host}/${repo}${maybeTag === undefined ? "" : `:${maybeTag}`}${byDigest ? `@sha256:${hex}` : ""}`;
      const ref = parseReference(text);
      const full = formatReference(ref);
      assert.equal(formatReference(parseReference(full)), full);
      assert.equal(formatReference(parseReference(familiarReference(ref))), full);
    }),
  );
});

test("any text either parses to a well-formed reference or is an invalid argument", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(..."aZ09._-/:@[]%") }), fc.string({ unit: "binary" })), (text) => {
      try {
        const ref = parseReference(text);
        assert.match(formatReference(ref), /^[^/\s]+\/[^\s]+$/);
        assert.ok((ref.tag ?? ref.digest) !== undefined);
      } catch (error) {
        assert.ok(isKind(error, "invalid-argument"), String(error));
      }
    }),
    { numRuns: 500 },
  );
});

test("hostile lengths take no time", () => {
  const before = process.cpuUsage();
  for (const text of ["a".repeat(100_000), `${"a-".repeat(50_000)}/x`, `${"a.".repeat(500)}:/x`, `x/${"a_".repeat(400)}`]) {
    assert.throws(() => parseReference(text));
  }
  assert.ok(process.cpuUsage(before).user < 1_000_000);
});
