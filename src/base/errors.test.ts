import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { CridError, isErrno, isKind } from "./errors.ts";
import { linkSignals } from "./signals.ts";
import { nowNanos } from "./time.ts";

test("from keeps kind and message, and puts the step in front", () => {
  const inner = new CridError("not-found", "image x: not found");
  assert.equal(CridError.from(inner), inner);
  const outer = CridError.from(inner, "create container 12ab");
  assert.equal(outer.message, "create container 12ab: image x: not found");
  assert.ok(isKind(outer, "not-found"));
  assert.equal(outer.cause, inner);
});

test("errno, abort and timeout get their kind", async () => {
  let missing: unknown;
  try {
    readFileSync("/no/such/file");
  } catch (error) {
    missing = error;
  }
  assert.equal(CridError.from(missing).kind, "not-found");
  assert.ok(isErrno(CridError.from(missing, "step"), "ENOENT"));
  assert.equal(CridError.from(AbortSignal.abort().reason).kind, "canceled");
  const timeout = AbortSignal.timeout(1);
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(CridError.from(timeout.reason).kind, "deadline-exceeded");
  assert.equal(CridError.from("text").message, "text");
});

test("linked signals abort with the first, name the step on a timeout, and let go when disposed", async () => {
  const controller = new AbortController();
  {
    using linked = linkSignals({ signals: [controller.signal, undefined], step: "pull" });
    controller.abort(new Error("client went"));
    assert.match(String(linked.signal.reason), /client went/);
  }
  using late = linkSignals({ timeoutMs: 5, step: "add network to pod 12ab" });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(isKind(late.signal.reason, "deadline-exceeded"));
  assert.match(String(late.signal.reason), /add network to pod 12ab: no answer after 5 ms/);
});

test("nanoseconds follow the wall clock", () => {
  const difference = nowNanos() - BigInt(Date.now()) * 1_000_000n;
  assert.ok(difference > -20_000_000n && difference < 20_000_000n, String(difference));
});
