import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { KeyedMutex, raceAbort } from "./keyed-mutex.ts";

test("one at a time per key, first come first served, keys independent", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 20 }), async (keys) => {
      const mutex = new KeyedMutex();
      const inside = new Map<string, number>();
      const order = new Map<string, number[]>();
      await Promise.all(
        keys.map(async (key, index) => {
          using _ = await mutex.acquire(key);
          assert.equal(inside.get(key) ?? 0, 0);
          inside.set(key, 1);
          await Promise.resolve();
          order.set(key, [...(order.get(key) ?? []), index]);
          inside.set(key, 0);
        }),
      );
      for (const seen of order.values())
        assert.deepEqual(
          seen,
          seen.toSorted((a, b) => a - b),
        );
      await sleep(0);
      for (const key of keys) assert.equal(mutex.isLocked(key), false);
    }),
    { numRuns: 100 },
  );
});

test("an aborted wait gives up its place and lets those behind in", async () => {
  const mutex = new KeyedMutex();
  const first = await mutex.acquire("k");
  const controller = new AbortController();
  const second = mutex.acquire("k", { signal: controller.signal });
  const third = mutex.acquire("k");
  controller.abort(new Error("enough"));
  await assert.rejects(second, /enough/);
  let got = false;
  void third.then(() => {
    got = true;
  });
  await sleep(5);
  assert.equal(got, false, "the first still holds it");
  first[Symbol.dispose]();
  (await third)[Symbol.dispose]();
});

test("raceAbort leaves no listener behind", async () => {
  const controller = new AbortController();
  let listeners = 0;
  const signal = controller.signal;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners++;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners--;
    remove(...args);
  };
  assert.equal(await raceAbort(Promise.resolve(1), signal), 1);
  await assert.rejects(raceAbort(Promise.reject(new Error("no")), signal), /no/);
  assert.equal(listeners, 0);
});
