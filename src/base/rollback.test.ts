import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "./log.ts";
import { Rollback } from "./rollback.ts";

test("undos run newest first, a failing one is named and the rest still run", async () => {
  const ran: string[] = [];
  const rollback = new Rollback({ log: silentLogger() });
  {
    await using stack = rollback;
    stack.push("first", () => void ran.push("first"));
    stack.push("second", () => {
      ran.push("second");
      throw new Error("no");
    });
    stack.push("third", async () => void ran.push("third"));
  }
  assert.deepEqual(ran, ["third", "second", "first"]);
  assert.deepEqual(rollback.failed, ["second"]);
});

test("disarmed, nothing runs", async () => {
  const ran: string[] = [];
  {
    await using rollback = new Rollback({ log: silentLogger() });
    rollback.push("x", () => void ran.push("x"));
    rollback.disarm();
  }
  assert.deepEqual(ran, []);
});

test("undos run on a clock of their own that aborts in the end", async () => {
  let reason: unknown;
  {
    await using rollback = new Rollback({ log: silentLogger(), timeoutMs: 20 });
    rollback.push(
      "hangs until told",
      ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
          // The timer of AbortSignal.timeout does not keep the process alive; the daemon's sockets do.
          setTimeout(() => undefined, 1000);
        }),
    );
    rollback.push("sees it fresh", ({ signal }) => {
      reason = signal.aborted;
    });
  }
  assert.equal(reason, false);
});
