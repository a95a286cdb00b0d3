import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CridError } from "../base/errors.ts";
import { Timeline } from "./timeline.ts";

const never = new AbortController().signal;

test("steps are measured, and named while under way", async () => {
  const seen: string[] = [];
  const timeline = new Timeline("run", (operation, step, seconds) => seen.push(`${operation} ${step} ${seconds > 0}`));
  const running = timeline.run("a", { signal: never, timeoutMs: 1000 }, () => sleep(5, "value"));
  assert.match(timeline.underWay(), /^a \(for \d+ ms\)$/);
  assert.equal(await running, "value");
  assert.equal(timeline.underWay(), "");
  assert.deepEqual(seen, ["run a true"]);
  assert.ok((timeline.steps[0]?.ms ?? 0) >= 4);
});

test("an error carries the step, a deadline its length, an abort its reason", async () => {
  const timeline = new Timeline("run");
  const options = { signal: never, timeoutMs: 1000 };
  await assert.rejects(
    timeline.run("a", options, () => {
      throw new CridError("not-found", "no such thing");
    }),
    { kind: "not-found", message: "a: no such thing" },
  );
  await assert.rejects(
    timeline.run("b", { signal: never, timeoutMs: 5 }, ({ signal }) => sleep(10_000, undefined, { signal })),
    { kind: "deadline-exceeded", message: "b: no answer after 5 ms" },
  );
  const gone = AbortSignal.abort(new CridError("canceled", "the client went away"));
  await assert.rejects(
    timeline.run("c", { signal: gone, timeoutMs: 5 }, () => assert.fail("ran")),
    {
      kind: "canceled",
      message: "c: the client went away",
    },
  );
});
