import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { afterEach, test } from "node:test";
import { isKind } from "./errors.ts";
import { armFailpoints, failpoint } from "./failpoints.ts";

afterEach(() => armFailpoints(""));

test("a failpoint nobody armed does nothing", async () => {
  await failpoint("x.y.z");
});

test("error triggers on every call, or on the nth only", async () => {
  armFailpoints("a.b.c=error, d.e.f=error@2");
  await assert.rejects(failpoint("a.b.c"), (error) => isKind(error, "internal"));
  await assert.rejects(failpoint("a.b.c"));
  await failpoint("d.e.f");
  await assert.rejects(failpoint("d.e.f"));
  await failpoint("d.e.f");
});

test("hang ends with the signal's reason", async () => {
  armFailpoints("a=hang");
  const controller = new AbortController();
  const waiting = failpoint("a", { signal: controller.signal });
  controller.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
});

test("crash kills the process as kill -9 does", () => {
  const code = `import { failpoint } from ${JSON.stringify(new URL("./failpoints.ts", import.meta.url).href)}; await failpoint("boom"); console.log("alive");`;
  const result = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
    env: { ...process.env, CRID_FAILPOINTS: "boom=crash" },
  });
  assert.equal(result.signal, "SIGKILL");
  assert.equal(result.stdout.toString(), "");
});

test("a malformed list is refused", () => {
  assert.throws(() => armFailpoints("a=explode"), /name=error\|hang\|crash/);
});
