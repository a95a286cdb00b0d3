import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PullProgress } from "./progress.ts";

test("the line of a pull tells bytes and stages", async () => {
  const progress = new PullProgress("docker.io/library/app:1");
  const blob = { mediaType: "", digest: `sha256:${"a".repeat(64)}`, size: 100 };
  const here = { mediaType: "", digest: `sha256:${"b".repeat(64)}`, size: 7 };
  await sleep(5);
  progress.resolved();
  for (const one of [blob, here]) progress.add(one);
  progress.cached(here);
  progress.started(blob, { offset: 30 });
  assert.deepEqual(
    progress.report().blobs.map(({ state, bytes }) => [state, bytes]),
    [
      ["downloading", 30],
      ["done", 7],
    ],
  );
  await sleep(5);
  progress.downloaded(blob, { endpoint: "https://r.example/v2", resumedFrom: 30, interruptions: 1 });
  const { ms, resolveMs, downloadMs, ...rest } = progress.summary();
  assert.ok(Number(ms) >= Number(resolveMs) && Number(resolveMs) >= 4 && Number(downloadMs) >= 4, `${ms} ${resolveMs} ${downloadMs}`);
  assert.deepEqual(rest, {
    endpoints: ["https://r.example/v2"],
    downloadedBytes: 70,
    resumedBytes: 30,
    cachedBytes: 7,
    cachedBlobs: 1,
    interruptions: 1,
    inflateMs: 0,
    writeMs: 0,
    syncMs: 0,
  });
});
