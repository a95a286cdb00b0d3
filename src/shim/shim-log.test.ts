import assert from "node:assert/strict";
import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { silentLogger } from "../base/log.ts";
import { parseShimLogLine, ShimLog } from "./shim-log.ts";

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

test("lines of the fifo are logged at their level, whoever comes and goes", async () => {
  const bundle = await mkdtemp(join(tmpdir(), "crid-shim-log-"));
  const seen: string[] = [];
  const take =
    (level: string) =>
    (_fields: unknown, message: unknown): void =>
      void seen.push(`${level} ${String(message)}`);
  const log = Object.assign(silentLogger(), { debug: take("debug"), info: take("info"), warn: take("warn") });
  const shimLog = new ShimLog(bundle, log);
  try {
    const fifo = join(bundle, "log");
    await appendFile(fifo, "level=info msg=one\nlevel=warning ms");
    await appendFile(fifo, 'g="two words"\nlevel=error msg=three\npanic: four\n');
    await appendFile(fifo, `${"x".repeat(20_000)}\n`);
    for (let i = 0; i < 100 && seen.length < 5; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.deepEqual(seen.slice(0, 4), ["debug shim: one", "info shim: two words", "warn shim: three", "warn shim: panic: four"]);
    // A daemon that comes later takes the fifo as it is.
    new ShimLog(bundle, log).close();
  } finally {
    shimLog.close();
    await rm(bundle, { recursive: true, force: true });
  }
});
