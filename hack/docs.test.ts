import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import manifest from "../package.json" with { type: "json" };
import { createMetrics } from "../src/metrics/metrics.ts";
import { imageMethods, runtimeMethods } from "../src/server/grpc-services.ts";
import { unimplementedRpcs } from "../src/server/handlers/unimplemented.ts";
import { docsBlocks } from "./docs-block.ts";
import { freshConfigurationPage } from "./gen-docs.ts";

const repo = join(import.meta.dirname, "..");
const docs = readdirSync(join(repo, "docs")).filter((name) => name.endsWith(".md"));
const pages = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ...docs.map((name) => join("docs", name))];

function read(page: string): string {
  return readFileSync(join(repo, page), "utf8");
}

/** All matches of the first group in all pages, each with its page. */
function mentions(pattern: RegExp): { page: string; text: string }[] {
  return pages.flatMap((page) => [...read(page).matchAll(pattern)].map((match) => ({ page, text: match[1] ?? "" })));
}

test("the README's table has every RPC once, and says truly which are not served", () => {
  const rows = [...read("README.md").matchAll(/^\| ([\w, ]+) \| (served|UNIMPLEMENTED)/gm)];
  const rpcs = (answer: string): string[] => rows.flatMap(([, names = "", says]) => (says === answer ? names.split(", ") : []));
  const all = [...Object.keys(runtimeMethods), ...Object.keys(imageMethods)];
  assert.deepEqual(rpcs("UNIMPLEMENTED").toSorted(), [...unimplementedRpcs].toSorted());
  assert.deepEqual([...rpcs("served"), ...rpcs("UNIMPLEMENTED")].toSorted(), all.toSorted());
});

test("docs/configuration.md is what `crid config default` prints; else run: node hack/gen-docs.ts", () => {
  assert.equal(read("docs/configuration.md"), freshConfigurationPage());
});

test("docs/metrics.md has every metric of crid's own with its type and labels, and no other", async () => {
  const metrics = createMetrics();
  metrics.watch({
    pods: () => ({ ready: 1 }),
    containers: () => ({ running: 1 }),
    images: () => 1,
    cniRetries: () => 1,
    nriPlugins: () => 1,
  });
  const text = await metrics.registry.metrics();
  const types = [...text.matchAll(/^# TYPE (crid_\w+) (\w+)$/gm)].map(([, name, type]) => `${name} ${type}`);
  const own = types.filter((one) => !/^crid_(process|nodejs)_/.test(one));
  const rows = [...read("docs/metrics.md").matchAll(/^\| `(crid_\w+)` \| (\w+) \|([^|]*)\|/gm)];
  assert.deepEqual(rows.map(([, name, type]) => `${name} ${type}`).toSorted(), own.toSorted());
});

test("every block of commands in docs/ is run by a test, or says why not", () => {
  const tests = ["test/cluster/checks", "test/cluster", "test/e2e", "hack"].flatMap((folder) =>
    readdirSync(join(repo, folder), { withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && entry.name !== "docs.test.ts")
      .map((entry) => readFileSync(join(repo, folder, entry.name), "utf8")),
  );
  for (const page of docs) {
    const names = new Set<string>();
    for (const { line, run, notRun } of docsBlocks(page)) {
      const where = `docs/${page}:${line}`;
      assert.ok(run !== undefined || notRun !== undefined, `${where}: put <!-- run: NAME --> or <!-- not run: WHY --> above the block`);
      if (run === undefined) continue;
      assert.ok(!names.has(run), `${where}: a second block ${run}`);
      names.add(run);
      assert.ok(
        tests.some((text) => text.includes(`"${run}"`) && (text.includes(`"${page}"`) || text.includes("docsCommands("))),
        `${where}: no test runs the block ${run}`,
      );
    }
  }
});

test("links lead somewhere", () => {
  for (const { page, text } of mentions(/\]\(([^)#\s]+)[^)]*\)/g)) {
    if (/^https?:/.test(text)) continue;
    assert.ok(existsSync(join(repo, dirname(page), text)), `${page}: ${text}`);
  }
});

test("docs/README.md names every page, CONTRIBUTING.md every folder of src/", () => {
  for (const name of docs) if (name !== "README.md") assert.ok(read("docs/README.md").includes(`(${name})`), name);
  for (const entry of readdirSync(join(repo, "src"), { withFileTypes: true })) {
    if (entry.isDirectory()) assert.ok(read("CONTRIBUTING.md").includes(`\`src/${entry.name}/\``), `src/${entry.name}/`);
  }
});

test("commands, npm scripts and files that the pages name exist", () => {
  const help = spawnSync(process.execPath, [join(repo, "src/main.ts"), "--help"], { encoding: "utf8" }).stdout;
  const commands = new Set([...help.matchAll(/^ {2}crid (\S+)/gm)].map(([, name]) => name));
  for (const { page, text } of mentions(/(?:^ {4}|`)(?:sudo )?crid ([a-z]+)/gm)) assert.ok(commands.has(text), `${page}: crid ${text}`);
  for (const { page, text } of mentions(/npm run ([\w:]+)/g)) assert.ok(Object.hasOwn(manifest.scripts, text), `${page}: npm run ${text}`);
  for (const { page, text } of mentions(/`((?:src|hack|test|deploy|api|vendor)\/[\w./-]+)`/g)) {
    assert.ok(existsSync(join(repo, text)), `${page}: ${relative(repo, join(repo, text))}`);
  }
});
