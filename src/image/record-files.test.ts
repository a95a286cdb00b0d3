import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { digestOf } from "../base/digest.ts";
import { silentLogger } from "../base/log.ts";
import type { ImageRecord } from "../records/image-record.ts";
import { Leases } from "./leases.ts";
import { RecordFiles } from "./record-files.ts";

const root = await mkdtemp(join(tmpdir(), "crid-records-"));
after(() => rm(root, { recursive: true, force: true }));
let count = 0;
const fresh = (): string => join(root, `${++count}`);

const text = fc.string({ maxLength: 10 });
const digest = text.map((value) => digestOf(value));
const config = fc.record({
  user: text,
  env: fc.array(text, { maxLength: 3 }),
  entrypoint: fc.array(text, { maxLength: 2 }),
  cmd: fc.array(text, { maxLength: 2 }),
  workingDir: text,
  stopSignal: text,
  labels: fc.dictionary(
    text.filter((key) => key !== "__proto__"),
    text,
    { maxKeys: 3, noNullPrototype: true },
  ),
  volumes: fc.array(text, { maxLength: 2 }),
  os: text,
  architecture: text,
  variant: text,
});
const record = fc
  .record(
    {
      id: digest,
      repoTags: fc.array(text, { maxLength: 3 }),
      repoDigests: fc.array(text, { maxLength: 3 }),
      manifestDigest: digest,
      sizeBytes: fc.nat(),
      diffIds: fc.array(digest, { maxLength: 3 }),
      chainIds: fc.array(digest, { maxLength: 3 }),
      config,
      pinned: fc.boolean(),
      blobs: fc.array(digest, { maxLength: 4 }),
    },
    {
      requiredKeys: ["id", "repoTags", "repoDigests", "manifestDigest", "sizeBytes", "diffIds", "chainIds", "config", "pinned"],
      noNullPrototype: true,
    },
  )
  .map((value) => JSON.parse(JSON.stringify(value)) as ImageRecord);
const byId = (a: ImageRecord, b: ImageRecord): number => (a.id < b.id ? -1 : 1);

test("records come back as they were, and those that are gone do not", async () => {
  const some = fc.uniqueArray(record, { maxLength: 4, selector: ({ id }) => id });
  await fc.assert(
    fc.asyncProperty(some, some, async (first, second) => {
      const directory = fresh();
      const files = new RecordFiles({ directory, log: silentLogger() });
      assert.deepEqual(await files.load(), []);
      for (const state of [first, second]) files.sync(state);
      await files.durable();
      const loaded = await new RecordFiles({ directory, log: silentLogger() }).load();
      assert.deepEqual(loaded.sort(byId), second.sort(byId));
    }),
    { numRuns: 60 },
  );
});

const json = fc.letrec((tie) => ({
  value: fc.oneof({ depthSize: "small" }, fc.constantFrom<unknown>(null, 0, "", "x", digestOf("x"), [], {}), tie("object")),
  object: fc.dictionary(fc.constantFrom("id", "repoTags", "config", "blobs", "ref", "expiresAt", "chainIds", "__proto__"), tie("value"), {
    maxKeys: 6,
  }),
})).value;
const anything = fc.oneof(
  fc.string(),
  json.map((value) => JSON.stringify(value)),
  record.map((value) => JSON.stringify(value).slice(0, -1)),
  record.map((value) => JSON.stringify({ ...value, id: digestOf("another") })),
  fc.constant(undefined),
);

test("whatever lies among the copies and the leases: what makes no sense is taken away, the rest is read", async () => {
  await fc.assert(
    fc.asyncProperty(record, fc.array(anything, { maxLength: 4 }), async (good, bad) => {
      const directory = fresh();
      await mkdir(directory);
      const names = bad.map((_, n) => (n === 0 ? `${good.id.slice(7)}.json.new` : `${digestOf(`${n}`).slice(7)}.json`));
      // undefined: a folder, with something in it.
      for (const [n, content] of bad.entries()) {
        const path = join(directory, names[n] ?? "");
        if (content === undefined) await mkdir(join(path, "inside"), { recursive: true });
        else await writeFile(path, content);
      }
      await writeFile(join(directory, `${good.id.slice(7)}.json`), JSON.stringify(good));
      assert.deepEqual(await new RecordFiles({ directory, log: silentLogger() }).load(), [good]);
      assert.deepEqual(await readdir(directory), [`${good.id.slice(7)}.json`]);

      for (const [n, content] of bad.entries()) await writeFile(join(directory, names[n] ?? ""), content ?? "\0");
      const leases = new Leases({ directory, log: silentLogger() });
      const lease = await leases.hold("key", { ref: "r", blobs: [digestOf("b")], chainIds: [] });
      const again = new Leases({ directory, log: silentLogger() });
      await again.load();
      assert.deepEqual(
        again.current().map(({ id, blobs }) => [id, [...blobs]]),
        [[lease.id, [digestOf("b")]]],
      );
      assert.deepEqual(await readdir(directory), [lease.id]);
    }),
    { numRuns: 100 },
  );
});
