import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { type Logger, silentLogger } from "../base/log.ts";
import type { PullTotals } from "../records/pull-totals.ts";
import { FakeRegistry } from "../registry/testkit/fake-registry.ts";
import { makeTestImage } from "../registry/testkit/test-image.ts";
import { startNode } from "./testkit.ts";

const signal = AbortSignal.timeout(120_000);

interface Line extends Partial<PullTotals> {
  ref?: string;
  endpoints?: string[];
  msg: string;
}

/** Keeps what was said of pulls. */
function listener(): { log: Logger; lines: Line[] } {
  const lines: Line[] = [];
  const log = silentLogger();
  const info = (fields: Omit<Line, "msg">, msg: string): void => void lines.push({ ...fields, msg });
  return { log: Object.assign(log, { info }), lines };
}

test("the log's line of a real pull, and its metrics: endpoint, bytes, time of each stage, what an earlier try had, what was here", async () => {
  await using registry = await FakeRegistry.start();
  await using mirror = await FakeRegistry.start();
  const shared = [{ name: "shared", content: randomBytes(300_000) }];
  const first = await makeTestImage({ layers: [shared, [{ name: "big", content: randomBytes(3_000_000) }]] });
  const second = await makeTestImage({ layers: [shared, [{ name: "small", content: "small" }]] });
  const [sharedLayer, big] = first.layers;
  assert.ok(sharedLayer !== undefined && big !== undefined);
  const ref = registry.add("app", "v1", first);
  const { log, lines } = listener();
  const measured: [string, PullTotals][] = [];
  const metrics = {
    pull: (result: string, totals: PullTotals) => void measured.push([result, totals]),
    pullsRunning: () => undefined,
    collected: () => undefined,
    verified: () => undefined,
  };
  const mirrors = { [registry.host]: { endpoints: [mirror.url] } };
  await using node = await startNode({ registry: { mirrors }, images: { log, metrics } });

  // The caller goes in the middle of the big layer.
  const going = new AbortController();
  registry.intercept = ({ url, headers }, response) => {
    if (!url.endsWith(big.digest) || headers.range !== undefined) return false;
    response.writeHead(200, { "content-length": big.size });
    response.write(big.data.subarray(0, 1_500_000), () => setTimeout(() => going.abort(new Error("gone")), 300));
    return true;
  };
  await assert.rejects(node.images.pull(ref, { signal: going.signal }), /gone/);
  // The next one is cut once.
  let cuts = 0;
  registry.intercept = ({ url, headers }, response) => {
    if (!url.endsWith(big.digest) || cuts > 0) return false;
    cuts++;
    const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1] ?? 0);
    response.writeHead(206, { "content-range": `bytes ${from}-${big.size - 1}/${big.size}`, "content-length": big.size - from });
    response.write(big.data.subarray(from, from + 100_000), () => setTimeout(() => response.destroy(), 50));
    return true;
  };
  await node.images.pull(ref, { signal });
  registry.intercept = () => false;
  await node.images.pull(ref, { signal });
  const other = mirror.add("other", "v1", second).replace(mirror.host, registry.host);
  mirror.requests.length = 0;
  await node.images.pull(other, { signal });
  registry.intercept = (_, response) => Boolean(response.writeHead(404).end());
  await assert.rejects(node.images.pull(`${registry.host}/none:1`, { signal }));

  const pulls = lines.filter(({ msg }) => msg.startsWith("pull"));
  assert.deepEqual(
    pulls.map(({ msg, ref: name }) => [msg, name]),
    [
      ["pulled", ref],
      ["pulled", ref],
      ["pulled", other],
      ["pull failed", `${registry.host}/none:1`],
    ],
  );
  assert.deepEqual(
    measured.map(([result]) => result),
    ["canceled", "ok", "ok", "ok", "not-found"],
  );
  const [resumed, again, mostly, failed] = pulls;
  assert.ok(resumed !== undefined && again !== undefined && mostly !== undefined && failed !== undefined);
  // Each line says what the metrics got.
  for (const [index, { endpoints: _, msg: __, ref: ___, ...line }] of pulls.entries()) {
    const { id: ____, err: _____, ...totals } = line as Record<string, unknown>;
    const { ms, ...rest } = measured[index + 1]?.[1] ?? {};
    assert.deepEqual({ ...totals, ms: 0 }, { ...rest, ms: 0 });
    assert.ok(Number(totals.ms) <= Number(ms));
  }

  assert.deepEqual(resumed.endpoints, [`${registry.url}/v2`]);
  assert.ok((resumed.resumedBytes ?? 0) >= 1_000_000, `${resumed.resumedBytes} resumed`);
  // The mirror does not have it, and the connection was cut.
  assert.equal(resumed.interruptions, 2);
  // The config and the shared layer may have come before the caller went.
  const sizes = [first.config, ...first.layers].reduce((sum, { size }) => sum + size, 0);
  assert.equal((resumed.downloadedBytes ?? 0) + (resumed.resumedBytes ?? 0) + (resumed.cachedBytes ?? 0), sizes);
  for (const stage of ["resolveMs", "downloadMs", "inflateMs", "writeMs", "syncMs"] as const)
    assert.ok(Number.isInteger(resumed[stage]) && (resumed[stage] ?? -1) >= 0, stage);
  assert.ok((resumed.downloadMs ?? 0) >= 50 && (resumed.writeMs ?? 0) > 0, JSON.stringify(resumed));

  assert.deepEqual([again.downloadedBytes, again.resumedBytes, again.writeMs, again.endpoints], [0, 0, 0, []]);
  assert.equal(again.cachedBlobs, 4, "config, layers and the manifest are looked at");
  // The mirror has this one; the layer that is here already is not asked for.
  assert.deepEqual(mostly.endpoints, [`${mirror.url}/v2`]);
  assert.deepEqual([mostly.cachedBlobs, mostly.cachedBytes], [1, sharedLayer.size]);
  assert.equal(mirror.count(sharedLayer.digest), 0);
  assert.deepEqual([failed.downloadedBytes, failed.cachedBlobs], [0, 0]);
});
