import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isKind } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import { RdtClasses } from "./rdt.ts";

const classes = (path: string, ignoreNotEnabledErrors = false) =>
  new RdtClasses({ ignoreNotEnabledErrors, log: silentLogger(), mountPoint: async () => path });

test("a class is a group of resctrl", async (t) => {
  const path = mkdtempSync(join(tmpdir(), "crid-rdt-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  for (const group of ["gold", "bronze", "."]) {
    mkdirSync(join(path, group), { recursive: true });
    writeFileSync(join(path, group, "tasks"), "");
  }
  mkdirSync(join(path, "mon_groups"));
  const rdt = classes(path);
  assert.deepEqual(await rdt.resolve("gold"), { closID: "gold" });
  assert.deepEqual(await rdt.resolve("system/default"), { closID: "/" });
  assert.deepEqual(await rdt.status(), { path, classes: ["system/default", "bronze", "gold"] });
  for (const missing of ["silver", "mon_groups"]) {
    await assert.rejects(
      rdt.resolve(missing),
      (error: unknown) => isKind(error, "failed-precondition") && /there are: system\/default, bronze, gold/.test(error.message),
    );
  }
  for (const bad of [".", "..", "a/b", "a\nb", "x".repeat(4096)]) {
    await assert.rejects(rdt.resolve(bad), (error: unknown) => isKind(error, "invalid-argument"), bad.slice(0, 9));
  }
});

test("without resctrl: refused, or ignored where that is configured", async () => {
  await assert.rejects(
    classes("").resolve("gold"),
    (error: unknown) => isKind(error, "failed-precondition") && /resctrl is not mounted/.test(error.message),
  );
  assert.equal(await classes("", true).resolve("gold"), undefined);
  assert.deepEqual(await classes("").status(), { path: "", classes: [] });
});
