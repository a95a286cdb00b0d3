import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import type { TarEntry } from "./tar-entry.ts";
import { TarReader } from "./tar-reader.ts";
import { encodeTarHeader, tarEnd, tarPadding } from "./tar-writer.ts";

function archive(...files: [string, string][]): Buffer {
  const parts = files.flatMap(([name, content]) => [
    encodeTarHeader({ name, type: name.endsWith("/") ? "directory" : "file", size: content.length }),
    Buffer.from(content),
    tarPadding(content.length),
  ]);
  return Buffer.concat([...parts, tarEnd]);
}

test("GNU tar lists and extracts what is written", () => {
  const input = archive(["dir/", ""], ["dir/a", "hello"], ["dir/full", "x".repeat(1024)]);
  const listed = spawnSync("tar", ["-tvf", "-", "--utc", "--full-time"], { input, encoding: "utf8" });
  assert.equal(listed.stderr, "");
  assert.deepEqual(
    listed.stdout
      .trim()
      .split("\n")
      .map((line) => line.replaceAll(/ +/g, " ")),
    [
      "drwxr-xr-x 0/0 0 1970-01-01 00:00:00 dir/",
      "-rw-r--r-- 0/0 5 1970-01-01 00:00:00 dir/a",
      "-rw-r--r-- 0/0 1024 1970-01-01 00:00:00 dir/full",
    ],
  );
  assert.equal(spawnSync("tar", ["-xOf", "-", "dir/a"], { input, encoding: "utf8" }).stdout, "hello");
});

test("sizes beyond 8 GiB are read back", () => {
  const entries: TarEntry[] = [];
  const reader = new TarReader({ entry: (entry) => void entries.push(entry), data() {}, entryEnd() {} }, { maxEntries: 1 });
  reader.push(encodeTarHeader({ name: "big", type: "file", size: 50 * 1024 ** 3 }));
  assert.deepEqual([entries[0]?.path, entries[0]?.size, entries[0]?.type], ["big", 50 * 1024 ** 3, "file"]);
});

test("a name that does not fit is refused", () => {
  assert.throws(() => encodeTarHeader({ name: "x".repeat(101), type: "file", size: 0 }), { kind: "internal" });
});
