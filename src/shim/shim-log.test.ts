import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseShimLogLine } from "./shim-log.ts";

test("a line in the shim's format", () => {
  const line = 'time="2026-11-24T23:00:00.1Z" level=warning msg="cannot \\"do\\" it\\nnow" error="exit status 1" pid=12';
  assert.deepEqual(parseShimLogLine(line), {
    level: "warning",
    message: 'cannot "do" it\nnow',
    fields: { error: "exit status 1", pid: "12" },
  });
});

test("other lines pass whole", () => {
  for (const line of ["panic: runtime error", "goroutine 1 [running]:", "level=loud msg=x"]) {
    assert.deepEqual(parseShimLogLine(line), { level: "", message: line, fields: {} });
  }
});

test("any line is parsed", () => {
  fc.assert(
    fc.property(fc.string(), (line) => {
      assert.equal(typeof parseShimLogLine(`level=info msg=${line}`).message, "string");
    }),
  );
});
