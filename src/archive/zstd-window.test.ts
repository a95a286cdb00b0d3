import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { constants, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { MemoryBudget, zstdWindow } from "./zstd-window.ts";

const signal = AbortSignal.timeout(60_000);

test("the window that a frame asks for", () => {
  const compress = (windowLog: number, contentSize: boolean): Buffer =>
    zstdCompressSync(Buffer.alloc(20_000_000, "0123456789abcdef"), {
      params: { [constants.ZSTD_c_windowLog]: windowLog, [constants.ZSTD_c_contentSizeFlag]: contentSize ? 1 : 0 },
    });
  for (const windowLog of [17, 20, 23]) assert.equal(zstdWindow(compress(windowLog, false)), 2 ** windowLog);
  const small = zstdCompressSync(Buffer.alloc(70_000, "x"));
  assert.ok(zstdWindow(small) >= 70_000 && zstdWindow(small) <= 2 ** 18, `${zstdWindow(small)}`);
  assert.equal(zstdWindow(Buffer.from("502a4d1800000000", "hex")), 8 * 1024 * 1024);
  assert.equal(zstdWindow(Buffer.alloc(0)), 8 * 1024 * 1024);
});

test("any head has a window: a number of bytes that a budget can be asked for", () => {
  const frame = fc.uint8Array({ maxLength: 16 }).map((bytes) => Buffer.concat([Buffer.from("28b52ffd", "hex"), bytes]));
  const any = fc.uint8Array({ maxLength: 24 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(fc.oneof(frame, any), (head) => {
      const window = zstdWindow(head);
      assert.ok(Number.isFinite(window) && Number.isInteger(window) && window >= 0, `${window}`);
    }),
    { numRuns: 2000 },
  );
});

test("a budget: what fits goes at once, what does not waits in order, what is larger goes alone", async () => {
  const budget = new MemoryBudget(10);
  const log: string[] = [];
  const take = async (name: string, bytes: number, o = { signal }): Promise<Disposable> => {
    const taken = await budget.take(bytes, o);
    log.push(name);
    return taken;
  };
  const first = await take("first", 6);
  const second = await take("second", 4);
  const huge = take("huge", 1000);
  const left = new AbortController();
  const gone = take("gone", 1, left);
  const last = take("last", 1);
  left.abort(new Error("left"));
  await assert.rejects(gone, /left/);
  first[Symbol.dispose]();
  await turn();
  assert.deepEqual(log, ["first", "second"]);
  second[Symbol.dispose]();
  (await huge)[Symbol.dispose]();
  (await last)[Symbol.dispose]();
  assert.deepEqual(log, ["first", "second", "huge", "last"]);
});
