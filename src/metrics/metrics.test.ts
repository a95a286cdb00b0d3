import assert from "node:assert/strict";
import { test } from "node:test";
import { isKind } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import { createMetrics } from "./metrics.ts";
import { serveMetrics } from "./serve.ts";

test("what was observed is served", async () => {
  const metrics = createMetrics();
  metrics.watch({
    pods: () => ({ ready: 2, "not-ready": 1 }),
    containers: () => ({ running: 3 }),
    images: () => 4,
    cniRetries: () => 1,
    nriPlugins: () => 0,
  });
  metrics.rpc("RunPodSandbox", "OK", 0.08);
  metrics.cniOperation({ command: "ADD", plugin: "bridge", network: "n", ms: 35, ok: true });
  const bytes = { downloadedBytes: 1000, resumedBytes: 200, cachedBytes: 30, cachedBlobs: 4, interruptions: 5 };
  metrics.pull("ok", { ms: 2000, ...bytes, resolveMs: 10, downloadMs: 500, inflateMs: 20, writeMs: 30, syncMs: 40 });
  metrics.step("run-pod-sandbox", "network", 0.07);
  let unhealthy: string | undefined;
  await using server = await serveMetrics({
    address: "127.0.0.1:0",
    registry: metrics.registry,
    log: silentLogger(),
    unhealthy: () => unhealthy,
  });
  const text = await (await fetch(`http://${server.address}/metrics`)).text();
  assert.match(text, /crid_rpc_duration_seconds_count\{method="RunPodSandbox",code="OK"\} 1/);
  assert.match(text, /crid_pods\{state="ready"\} 2/);
  assert.match(text, /crid_pods\{state="not-ready"\} 1/);
  assert.match(text, /crid_cni_operation_duration_seconds_count\{command="ADD",plugin="bridge",network="n",result="ok"\} 1/);
  assert.match(text, /crid_image_pull_duration_seconds_sum\{result="ok"\} 2/);
  for (const [name, value] of [
    ["pulled_bytes", 1000],
    ["resumed_bytes", 200],
    ["cached_bytes", 30],
    ["cached_blobs", 4],
    ["download_interruptions", 5],
  ])
    assert.match(text, new RegExp(`^crid_image_${name}_total ${value}$`, "m"));
  assert.deepEqual(
    [...text.matchAll(/crid_image_pull_stage_seconds_total\{stage="(\w+)"\} (\S+)/g)].map(([, stage, value]) => [stage, Number(value)]),
    Object.entries({ resolve: 0.01, download: 0.5, inflate: 0.02, write: 0.03, sync: 0.04 }),
  );
  assert.match(text, /crid_event_loop_delay_seconds\{quantile="0.99"\}/);
  assert.match(text, /crid_process_resident_memory_bytes/);
  assert.equal((await fetch(`http://${server.address}/healthz`)).status, 200);
  unhealthy = "the store is gone";
  const health = await fetch(`http://${server.address}/healthz`);
  assert.deepEqual([health.status, await health.text()], [503, "the store is gone\n"]);
  assert.equal((await fetch(`http://${server.address}/x`)).status, 404);
  assert.equal((await fetch(`http://${server.address}/metrics`, { method: "POST" })).status, 405);
});

test("an empty address turns it off; a taken one is a clear error", async () => {
  const { registry } = createMetrics();
  const log = silentLogger();
  await using off = await serveMetrics({ address: "", registry, log });
  assert.equal(off.address, "");
  await using first = await serveMetrics({ address: "127.0.0.1:0", registry, log });
  await assert.rejects(serveMetrics({ address: first.address, registry, log }), (error) => isKind(error, "failed-precondition"));
});
