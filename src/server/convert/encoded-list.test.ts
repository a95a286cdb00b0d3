import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { containerRecord } from "../fixtures.ts";
import { containerList, fromContainer } from "./container.ts";
import { EncodedList } from "./encoded-list.ts";

const { v1 } = runtime;

test("joined bytes are what the whole message would be", () => {
  const views = [containerRecord("a"), containerRecord("b")].map((record) => ({ record, state: "running" as const }));
  assert.deepEqual(containerList().join(views), v1.ListContainersResponse.encode({ containers: views.map(fromContainer) }).finish());
  assert.equal(containerList().join([]).length, 0);
});

test("entries of every length are framed right", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 40_000 }), { maxLength: 5 }), (lengths) => {
      const entries = lengths.map((length) => ({ id: "x".repeat(length) }));
      const list = new EncodedList<{ id: string }>({
        identity: (entry) => ({ key: entry, version: "" }),
        encode: (entry) => v1.Container.encode(entry).finish(),
      });
      assert.deepEqual(list.join(entries), v1.ListContainersResponse.encode({ containers: entries }).finish());
      const pages = [...list.pages(entries, 10_000)].flatMap((page) => v1.ListContainersResponse.decode(page).containers);
      assert.deepEqual(
        pages.map(({ id }) => id.length),
        lengths,
      );
    }),
    { numRuns: 50 },
  );
});

test("an entry is encoded again only when it changes", () => {
  let encoded = 0;
  const list = new EncodedList<{ key: object; state: string }>({
    identity: ({ key, state }) => ({ key, version: state }),
    encode: ({ state }) => {
      encoded++;
      return v1.Container.encode({ id: state }).finish();
    },
  });
  const key = {};
  list.join([{ key, state: "created" }]);
  list.join([{ key, state: "created" }]);
  assert.equal(encoded, 1);
  const bytes = list.join([{ key, state: "running" }]);
  assert.equal(v1.ListContainersResponse.decode(bytes).containers[0]?.id, "running");
  assert.equal(encoded, 2);
});
