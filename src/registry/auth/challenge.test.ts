import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseChallenges } from "./challenge.ts";

const plain = (header: string | string[]): unknown =>
  parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

test("challenges as registries send them", () => {
  assert.deepEqual(plain('Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"'), [
    ["bearer", { realm: "https://auth.docker.io/token", service: "registry.docker.io", scope: "repository:a/b:pull,push" }],
  ]);
  assert.deepEqual(plain("Basic"), [["basic", {}]]);
  assert.deepEqual(plain('Basic realm="a \\"b\\" c", Bearer Realm=x ,error="insufficient_scope"'), [
    ["basic", { realm: 'a "b" c' }],
    ["bearer", { realm: "x", error: "insufficient_scope" }],
  ]);
  assert.deepEqual(plain(["Negotiate", 'BASIC realm="x"']), [
    ["negotiate", {}],
    ["basic", { realm: "x" }],
  ]);
  assert.deepEqual(parseChallenges(undefined), []);
});

test("any header is read, in time that grows with its length", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'Bb =",\\realm') })), (text) => {
      for (const { scheme } of parseChallenges(text)) assert.match(scheme, /^\S+$/);
    }),
    { numRuns: 500 },
  );
  const before = process.cpuUsage();
  for (const text of ['"'.repeat(100_000), `Bearer a="${"\\".repeat(100_000)}`, "Bearer ".repeat(20_000), "a=,".repeat(50_000)])
    parseChallenges(text);
  assert.ok(process.cpuUsage(before).user < 1_000_000);
});
