import assert from "node:assert/strict";
import { test } from "node:test";
import { type LifecycleEvent, LifecycleEvents } from "./events.ts";

const event = (containerId: string): LifecycleEvent => ({ type: "created", containerId, sandboxId: "p", at: 1n });

async function idsOf(events: AsyncIterable<LifecycleEvent>): Promise<string[]> {
  const ids: string[] = [];
  for await (const { containerId } of events) ids.push(containerId);
  return ids;
}

test("each subscriber gets what is published after it came", async () => {
  const events = new LifecycleEvents();
  const first = events.subscribe({ signal: new AbortController().signal });
  events.publish(event("a"));
  const second = events.subscribe({ signal: new AbortController().signal });
  events.publish(event("b"));
  events.close();
  assert.deepEqual([await idsOf(first), await idsOf(second)], [["a", "b"], ["b"]]);
  assert.equal(events.subscribers, 0);
});

test("a slow subscriber is dropped and counted; the others go on", async () => {
  let dropped = 0;
  const events = new LifecycleEvents({ limit: 2, onDropped: () => dropped++ });
  const slow = events.subscribe({ signal: new AbortController().signal });
  const quick = events.subscribe({ signal: new AbortController().signal });
  const seen = quick[Symbol.asyncIterator]();
  for (const id of ["a", "b", "c"]) {
    events.publish(event(id));
    assert.equal((await seen.next()).value?.containerId, id);
  }
  assert.ok(slow.overflowed && !quick.overflowed);
  assert.equal(dropped, 1);
  assert.deepEqual(await idsOf(slow), []);
  quick[Symbol.dispose]();
  assert.equal(events.subscribers, 0);
});

test("an abort ends a waiting iteration without an error, and leaving the loop unsubscribes", async () => {
  const events = new LifecycleEvents();
  const abort = new AbortController();
  const waiting = idsOf(events.subscribe({ signal: abort.signal }));
  abort.abort();
  assert.deepEqual(await waiting, []);
  const other = events.subscribe({ signal: new AbortController().signal });
  events.publish(event("a"));
  for await (const _ of other) break;
  assert.equal(events.subscribers, 0);
});
