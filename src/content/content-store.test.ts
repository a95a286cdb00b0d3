import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { digestOf } from "../base/digest.ts";
import { isKind } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import { ContentStore } from "./content-store.ts";

const signal = AbortSignal.timeout(60_000);

const byName = (a: string, b: string): number => (a < b ? -1 : 1);

async function store(t: TestContext): Promise<ContentStore> {
  const root = await mkdtemp(join(tmpdir(), "crid-content-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  return ContentStore.open({ root, log: silentLogger() });
}

const data = Buffer.from("x".repeat(3_000_000));
const digest = digestOf(data);

test("a blob is there after commit, and not before", async (t) => {
  const content = await store(t);
  const ingest = await content.ingest({ digest, size: data.length });
  await ingest.write(data.subarray(0, 1_000_000));
  await ingest.write(data.subarray(1_000_000));
  assert.equal(await content.stat(digest), undefined);
  await ingest.commit();
  assert.equal((await content.stat(digest))?.size, data.length);
  assert.deepEqual(await readFile(content.path(digest)), data);
  assert.equal((await stat(content.path(digest))).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(join(content.root, "ingest")), []);
  assert.deepEqual(content.usage, { bytes: data.length, inodes: 1 });
  assert.ok(await content.verify(digest, { signal }));
});

test("goes on where a broken off ingest has stopped, in another process too", async (t) => {
  const content = await store(t);
  {
    await using ingest = await content.ingest({ digest, size: data.length });
    await ingest.write(data.subarray(0, 1_234_567));
  }
  const again = await ContentStore.open({ root: content.root, log: silentLogger() });
  const ingest = await again.ingest({ digest, size: data.length });
  assert.equal(ingest.offset, 1_234_567);
  await ingest.write(data.subarray(ingest.offset));
  await ingest.commit();
  assert.ok(await again.verify(digest, { signal }));
});

test("other content, too little and too much are refused and nothing is kept", async (t) => {
  const content = await store(t);
  const wrong = await content.ingest({ digest, size: data.length });
  await wrong.write(Buffer.alloc(data.length, "y"));
  assert.equal(await wrong.verify(), false);
  await assert.rejects(wrong.commit(), (error) => isKind(error, "data-loss"));
  const short = await content.ingest({ digest, size: data.length });
  await short.write(data.subarray(1));
  await assert.rejects(short.commit(), (error) => isKind(error, "data-loss"));
  const long = await content.ingest({ digest, size: 10 });
  await assert.rejects(long.write(data.subarray(0, 11)), (error) => isKind(error, "data-loss"));
  await long.abort();
  assert.deepEqual(await readdir(join(content.root, "ingest")), []);
  assert.deepEqual(await readdir(join(content.root, "blobs/sha256")), []);
});

test("after a wrong digest a restart makes it right", async (t) => {
  const content = await store(t);
  const ingest = await content.ingest({ digest, size: data.length });
  await ingest.write(Buffer.alloc(data.length, "y"));
  assert.equal(await ingest.verify(), false);
  await ingest.restart();
  await ingest.write(data);
  await ingest.commit();
  assert.ok(await content.verify(digest, { signal }));
});

test("a partial file that is longer than the blob is dropped", async (t) => {
  const content = await store(t);
  await writeFile(join(content.root, "ingest", digest.replace(":", "-")), Buffer.alloc(data.length + 1));
  const ingest = await content.ingest({ digest, size: data.length });
  assert.equal(ingest.offset, 0);
  await ingest.abort();
});

test("one ingest at a time for a digest", async (t) => {
  const content = await store(t);
  const first = await content.ingest({ digest, size: data.length });
  await assert.rejects(content.ingest({ digest, size: data.length }), (error) => isKind(error, "already-exists"));
  await first.abort();
  await (await content.ingest({ digest, size: data.length })).abort();
});

test("put, read, list and remove; damage is seen", async (t) => {
  const content = await store(t);
  const small = Buffer.from("manifest");
  await content.put(digestOf(small), small);
  await content.put(digestOf(small), small);
  const sha512 = digestOf(small, "sha512");
  await content.put(sha512, small);
  assert.deepEqual(await content.read(digestOf(small), { maxBytes: 100 }), small);
  await assert.rejects(content.read(digestOf(small), { maxBytes: 2 }), (error) => isKind(error, "resource-exhausted"));
  await assert.rejects(content.read(digest, { maxBytes: 2 }), (error) => isKind(error, "not-found"));
  const listed = await Array.fromAsync(content.list());
  assert.deepEqual(listed.map((item) => item.digest).sort(byName), [digestOf(small), sha512].sort(byName));
  await writeFile(content.path(sha512), "manifesT");
  await assert.rejects(content.read(sha512, { maxBytes: 100 }), (error) => isKind(error, "data-loss"));
  assert.equal(await content.verify(sha512, { signal }), false);
  await content.remove(sha512);
  await content.remove(sha512);
  await content.remove(digestOf(small));
  await content.settled({ timeoutMs: 10_000 });
  assert.deepEqual(content.usage, { bytes: 0, inodes: 0 });
});

test("an empty blob", async (t) => {
  const content = await store(t);
  await content.put(digestOf(""), Buffer.alloc(0));
  assert.equal((await content.stat(digestOf("")))?.size, 0);
});

test("old partial downloads go, young ones and open ones stay", async (t) => {
  const content = await store(t);
  const old = join(content.root, "ingest", digestOf("old").replace(":", "-"));
  const young = join(content.root, "ingest", digestOf("young").replace(":", "-"));
  await writeFile(old, "x");
  await writeFile(young, "x");
  const ingest = await content.ingest({ digest, size: data.length });
  const yesterday = new Date(Date.now() - 48 * 3600_000);
  await utimes(old, yesterday, yesterday);
  await utimes(join(content.root, "ingest", digest.replace(":", "-")), yesterday, yesterday);
  await content.removeStaleIngests({ olderThanMs: 24 * 3600_000 });
  assert.deepEqual(
    (await readdir(join(content.root, "ingest"))).sort(byName),
    [digestOf("young").replace(":", "-"), digest.replace(":", "-")].sort(byName),
  );
  await ingest.abort();
});

test("hostile digests name no path", async (t) => {
  const content = await store(t);
  for (const text of ["sha256:../../etc/passwd", "../x:y", "sha256:", "", `sha256:${"A".repeat(64)}`, `sha256:${"a".repeat(63)}/`]) {
    assert.throws(
      () => content.path(text),
      (error) => isKind(error, "invalid-argument"),
    );
  }
});

test("however it is cut and resumed, the blob comes out whole", async (t) => {
  const content = await store(t);
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ minLength: 1, maxLength: 5000 }),
      fc.array(fc.integer({ min: 0, max: 2000 }), { maxLength: 6 }),
      async (bytes, cuts) => {
        const whole = Buffer.from(bytes);
        const name = digestOf(whole);
        await content.remove(name);
        for (const cut of [...cuts, whole.length]) {
          await using ingest = await content.ingest({ digest: name, size: whole.length });
          await ingest.write(whole.subarray(ingest.offset, ingest.offset + cut));
          if (ingest.offset === whole.length) await ingest.commit();
          if ((await content.stat(name)) !== undefined) break;
        }
        assert.deepEqual(await content.read(name, { maxBytes: 10_000 }), whole);
      },
    ),
    { numRuns: 40 },
  );
});
