import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isKind } from "../base/errors.ts";
import { SingleFlight } from "./single-flight.ts";

const never = new AbortController().signal;

test("callers at the same time share one run", async () => {
  const flights = new SingleFlight<number>();
  let runs = 0;
  const work = async (): Promise<number> => {
    await sleep(10);
    return ++runs;
  };
  assert.deepEqual(await Promise.all([1, 2, 3].map(() => flights.run("a", work, { signal: never }))), [1, 1, 1]);
  assert.equal(await flights.run("a", work, { signal: never }), 2);
});

test("a caller who leaves disturbs nobody; the last one ends the work", async () => {
  const flights = new SingleFlight<string>();
  let aborted = false;
  const work = async ({ signal }: { signal: AbortSignal }): Promise<string> => {
    signal.addEventListener("abort", () => {
      aborted = true;
    });
    await sleep(30);
    signal.throwIfAborted();
    return "done";
  };
  const leaver = new AbortController();
  const left = flights.run("a", work, { signal: leaver.signal });
  const stays = flights.run("a", work, { signal: never });
  leaver.abort(new Error("gone"));
  await assert.rejects(left, /gone/);
  assert.equal(await stays, "done");
  assert.equal(aborted, false);

  const last = new AbortController();
  const alone = flights.run("b", work, { signal: last.signal });
  last.abort(new Error("gone too"));
  await assert.rejects(alone, /gone too/);
  assert.equal(aborted, true);
});

test("a caller who comes while an abandoned run cleans up gets a run of its own, after it", async () => {
  const flights = new SingleFlight<string>();
  const events: string[] = [];
  const work =
    (name: string) =>
    async ({ signal }: { signal: AbortSignal }): Promise<string> => {
      events.push(`${name} begins`);
      await sleep(20);
      await sleep(20);
      events.push(`${name} ends`);
      signal.throwIfAborted();
      return name;
    };
  const first = new AbortController();
  const abandoned = flights.run("a", work("one"), { signal: first.signal });
  first.abort(new Error("gone"));
  await assert.rejects(abandoned, /gone/);
  assert.equal(await flights.run("a", work("two"), { signal: never }), "two");
  assert.deepEqual(events, ["one begins", "one ends", "two begins", "two ends"]);
});

test("an error reaches all who wait, and the next call tries again", async () => {
  const flights = new SingleFlight<string>();
  let runs = 0;
  const work = async (): Promise<string> => {
    await sleep(5);
    if (runs++ === 0) throw new Error("bad luck");
    return "fine";
  };
  const results = await Promise.allSettled([1, 2].map(() => flights.run("a", work, { signal: never })));
  assert.deepEqual(
    results.map(({ status }) => status),
    ["rejected", "rejected"],
  );
  assert.equal(await flights.run("a", work, { signal: never }), "fine");
});

test("an aborted caller does not start anything", async () => {
  const flights = new SingleFlight<string>();
  await assert.rejects(
    flights.run("a", async () => "x", { signal: AbortSignal.abort(new Error("early")) }),
    /early/,
  );
  assert.equal(flights.has("a"), false);
  assert.equal(isKind(new Error("x"), "canceled"), false);
});
