import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { passedOn } from "./annotations.ts";

const matches = (pattern: string, name: string): boolean => Object.keys(passedOn({ [name]: "v" }, [pattern])).length === 1;

test("patterns are those of Go's path.Match", () => {
  // The examples of https://pkg.go.dev/path#Match, and what annotations look like.
  const cases: [string, string, boolean][] = [
    ["io.katacontainers.*", "io.katacontainers.config.hypervisor.default_vcpus", true],
    ["io.katacontainers.*", "io.katacontainersX", false],
    ["io.katacontainers.*", "io.katacontainers.a/b", false],
    ["io.kubernetes.cri/*", "io.kubernetes.cri/x", true],
    ["a?c", "abc", true],
    ["a?c", "a/c", false],
    ["a?c", "a😀c", true],
    ["[a-c]x", "bx", true],
    ["[^a-c]x", "bx", false],
    ["[^a-c]x", "dx", true],
    ["a\\*b", "a*b", true],
    ["a\\*b", "axb", false],
    ["a.b", "axb", false],
    ["(a|b)", "a", false],
    ["abc", "abc", true],
    ["abc", "xabcx", false],
    ["*", "abc", true],
    ["[", "[", false],
  ];
  for (const [pattern, name, expected] of cases) assert.equal(matches(pattern, name), expected, `${pattern} ${name}`);
});

test("any pattern and name: an answer, and a name matches itself when every character is escaped", () => {
  fc.assert(fc.property(fc.string(), fc.string(), (pattern, name) => void matches(pattern, name)));
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", minLength: 1 }), (name) => matches([...name].map((char) => `\\${char}`).join(""), name)),
  );
});

test("a name that is no plain word stays one", () => {
  assert.deepEqual(Object.keys(passedOn(JSON.parse('{"__proto__": "x", "b": "y"}'), ["*"])), ["__proto__", "b"]);
});
