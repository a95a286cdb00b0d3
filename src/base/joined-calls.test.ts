import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { JoinedCalls } from "./joined-calls.ts";

const never = new AbortController().signal;

test("a duplicate of a running call gets its result; a later one starts anew", async () => {
  const calls = new JoinedCalls<number>({ graceMs: 1000 });
  let runs = 0;
  const work = async (): Promise<number> => {
    await sleep(5);
    return ++runs;
  };
  assert.deepEqual(await Promise.all([calls.run("a", work, { signal: never }), calls.run("a", work, { signal: never })]), [1, 1]);
  assert.equal(await calls.run("a", work, { signal: never }), 2);
  assert.equal(calls.size, 0);
});

test("the first caller's deadline does not end the work; its retry joins it", async () => {
  const calls = new JoinedCalls<string>({ graceMs: 1000 });
  const { promise, resolve } = Promise.withResolvers<string>();
  const work = async ({ signal }: { signal: AbortSignal }): Promise<string> => {
    const value = await promise;
    signal.throwIfAborted();
    return value;
  };
  const first = new AbortController();
  const waiting = calls.run("a", work, { signal: first.signal });
  first.abort(new Error("deadline"));
  await assert.rejects(waiting, /deadline/);
  const retry = calls.run("a", () => assert.fail("started twice"), { signal: never });
  resolve("made");
  assert.equal(await retry, "made");
});

test("work that nobody waits for any more is told to stop", async () => {
  const calls = new JoinedCalls<string>({ graceMs: 5 });
  const { promise: stopped, resolve } = Promise.withResolvers<void>();
  const work = async ({ signal }: { signal: AbortSignal }): Promise<string> => {
    signal.addEventListener("abort", () => resolve());
    await stopped;
    return "";
  };
  const caller = new AbortController();
  const waiting = calls.run("a", work, { signal: caller.signal });
  caller.abort(new Error("gone"));
  await assert.rejects(waiting);
  await stopped;
});

test("a failure reaches every waiter and frees the key", async () => {
  const calls = new JoinedCalls<string>({ graceMs: 1000 });
  const fail = async (): Promise<string> => {
    await sleep(1);
    throw new Error("no");
  };
  const both = await Promise.allSettled([calls.run("a", fail, { signal: never }), calls.run("a", fail, { signal: never })]);
  assert.deepEqual(
    both.map((result) => result.status),
    ["rejected", "rejected"],
  );
  assert.equal(await calls.run("a", async () => "ok", { signal: never }), "ok");
});

test("close stops what runs and waits for its undo", async () => {
  const calls = new JoinedCalls<string>({ graceMs: 1000 });
  let undone = false;
  const work = async ({ signal }: { signal: AbortSignal }): Promise<string> => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    await sleep(2);
    undone = true;
    throw signal.reason;
  };
  const waiting = calls.run("a", work, { signal: never });
  await calls.close(new Error("shutdown"));
  assert.ok(undone);
  await assert.rejects(waiting, /shutdown/);
});
