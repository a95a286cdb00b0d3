import assert from "node:assert/strict";
import { type MockTimers, test } from "node:test";
import { isKind } from "./errors.ts";
import { longTimer } from "./long-timer.ts";
import { linkSignals } from "./signals.ts";

const day = 24 * 3600_000;

/** Day by day: timers that are armed on the way count from the end of a tick. */
function pass(timers: MockTimers, days: number): void {
  for (let n = 0; n < days; n++) timers.tick(day);
}

test("a timer of months fires after months, once; one that is cleared never", ({ mock }) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  let fired = 0;
  let cleared = 0;
  longTimer(90 * day, () => fired++);
  const timer = longTimer(90 * day, () => cleared++);
  pass(mock.timers, 60);
  timer[Symbol.dispose]();
  pass(mock.timers, 29);
  assert.equal(fired, 0);
  pass(mock.timers, 2);
  assert.equal(fired, 1);
  pass(mock.timers, 100);
  assert.deepEqual([fired, cleared], [1, 0]);
});

test("a signal's limit may be a century", ({ mock }) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  using link = linkSignals({ timeoutMs: 36_500 * day, step: "a century" });
  pass(mock.timers, 36_499);
  assert.equal(link.signal.aborted, false);
  // Each of its 1,470 timers may be late by a part of a tick.
  pass(mock.timers, 1500);
  assert.ok(isKind(link.signal.reason, "deadline-exceeded"));
});
