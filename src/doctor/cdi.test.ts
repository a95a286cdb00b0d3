import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "../base/log.ts";
import { checkCdi } from "./cdi.ts";

test("CDI spec files: what there is, and a warning for each broken file", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "crid-doctor-cdi-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const check = (enabled = true) => checkCdi({ enabled, dirs: [dir] }, silentLogger());
  assert.deepEqual(await check(), [{ subject: "CDI devices", verdict: "ok", message: `none in ${dir}` }]);
  writeFileSync(join(dir, "a.yaml"), "{cdiVersion: 0.5.0, kind: v/c, devices: [{name: 0, containerEdits: {env: [A=b]}}]}");
  writeFileSync(join(dir, "b.json"), "{}");
  const [broken, found, ...rest] = await check();
  assert.equal(broken?.subject, `CDI spec ${join(dir, "b.json")}`);
  assert.equal(broken?.verdict, "warning");
  assert.match(broken?.message ?? "", /invalid version/);
  assert.deepEqual([found?.verdict, found?.message], ["ok", "1: v/c=0"]);
  assert.deepEqual(rest, []);
  assert.match((await check(false))[0]?.message ?? "", /cdi.enabled/);
});
