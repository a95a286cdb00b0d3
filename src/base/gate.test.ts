import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { Gate } from "./gate.ts";

const never = { signal: new AbortController().signal };

test("closing waits for those inside and keeps others out", async () => {
  const gate = new Gate();
  const order: string[] = [];
  const first = await gate.enter(never);
  const second = await gate.enter(never);
  const closing = gate.close(never).then((closed) => {
    order.push("closed");
    return closed;
  });
  const third = gate.enter(never).then((inside) => {
    order.push("third");
    return inside;
  });
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  await setImmediate();
  assert.deepEqual(order, []);
  second[Symbol.dispose]();
  const closed = await closing;
  await setImmediate();
  assert.deepEqual(order, ["closed"]);
  closed[Symbol.dispose]();
  (await third)[Symbol.dispose]();
  assert.deepEqual(order, ["closed", "third"]);
});

test("an aborted close opens it again; an aborted enter leaves no trace", async () => {
  const gate = new Gate();
  const inside = await gate.enter(never);
  await assert.rejects(gate.close({ signal: AbortSignal.timeout(5) }));
  (await gate.enter(never))[Symbol.dispose]();
  inside[Symbol.dispose]();
  const closed = await gate.close(never);
  await assert.rejects(gate.enter({ signal: AbortSignal.timeout(5) }));
  closed[Symbol.dispose]();
  (await gate.close(never))[Symbol.dispose]();
});
