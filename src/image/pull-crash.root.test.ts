import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { FakeRegistry } from "../registry/testkit/fake-registry.ts";
import { makeTestImage } from "../registry/testkit/test-image.ts";
import { startNode } from "./testkit.ts";

const signal = AbortSignal.timeout(120_000);
const image = await makeTestImage({
  layers: [[{ name: "a", content: "a" }], [{ name: "b", content: "b" }], [{ name: "c", content: Buffer.alloc(300_000, "0123456789") }]],
});
const nothing = { blobs: 0, ingests: 0, leases: 0, layers: 0, staging: 0 };

/** Pulls in a process of its own, which a failpoint kills as `kill -9` does. */
async function pullAndDie(root: string, ref: string, point: string): Promise<void> {
  const script = `
    import(${JSON.stringify(import.meta.resolve("./testkit.ts"))})
      .then(({ startNode }) => startNode({ root: ${JSON.stringify(root)} }))
      .then((node) => node.images.pull(${JSON.stringify(ref)}, { signal: AbortSignal.timeout(60000) }))
      .then(() => process.exit(0));`;
  const env = { ...process.env, CRID_FAILPOINTS: point };
  await assert.rejects(promisify(execFile)(process.execPath, ["-e", script], { env }), (error) => {
    assert.ok(error instanceof Error && "signal" in error);
    assert.equal(error.signal, "SIGKILL", String(error));
    return true;
  });
}

const points = [
  "image.pull.after-resolve=crash",
  "image.pull.before-blob-commit=crash",
  "content.commit.before-rename=crash",
  "content.commit.after-rename=crash@4",
  "image.pull.after-unpack=crash@2",
  "image.pull.before-record=crash",
  "image.pull.after-record=crash",
];
for (const point of points) {
  test(`${point}: the next start is clean, the same pull works, a removal leaves nothing`, async () => {
    await using registry = await FakeRegistry.start();
    const ref = registry.add("app", "v1", image);
    const root = await mkdtemp(join(tmpdir(), "crid-crash-"));
    await pullAndDie(root, ref, point);
    await using node = await startNode({ root });
    assert.equal((await node.left()).staging, 0);
    await node.images.pull(ref, { signal });
    assert.deepEqual(await node.images.check({ signal }), []);
    await node.images.remove(ref, { signal });
    assert.deepEqual(await node.left(), nothing);
  });
}
