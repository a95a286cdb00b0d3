import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { silentLogger } from "../base/log.ts";
import { ConfDir } from "./conf-dir.ts";

let base = "";
let dir = "";
let confDir: ConfDir;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "crid-confdir-"));
  dir = join(base, "net.d");
});
afterEach(async () => {
  await confDir.close();
  rmSync(base, { recursive: true });
});

const list = (name: string, type = "bridge"): string => JSON.stringify({ cniVersion: "1.0.0", name, plugins: [{ type }] });
const put = (file: string, text: string): void => writeFileSync(join(dir, file), text);
const begin = async (pollMs = 60_000): Promise<void> => {
  confDir = new ConfDir({ dir, log: silentLogger(), pollMs, onChange: () => undefined });
  await confDir.start();
};
const network = (): string | undefined => confDir.state.network?.name;
const until = async (condition: () => boolean): Promise<void> => {
  for (let i = 0; i < 300 && !condition(); i++) await sleep(10);
  assert.ok(condition(), JSON.stringify(confDir.state));
};

test("the first by name wins, whatever its extension; others and hidden files are passed over", async () => {
  mkdirSync(dir);
  put("20-b.conflist", list("b"));
  put("10-a.conf", JSON.stringify({ cniVersion: "0.3.1", name: "a", type: "ptp" }));
  put("05-none.txt", list("no"));
  put(".00-hidden.conflist", list("hidden"));
  put("01-old.conflist~", list("backup"));
  await begin();
  assert.deepEqual([network(), confDir.state.file], ["a", join(dir, "10-a.conf")]);
  put("05-c.json", list("c"));
  await until(() => network() === "c");
  put("30-Z.conflist", list("z"));
  unlinkSync(join(dir, "05-c.json"));
  unlinkSync(join(dir, "10-a.conf"));
  await until(() => network() === "b");
  unlinkSync(join(dir, "20-b.conflist"));
  await until(() => network() === "z");
  unlinkSync(join(dir, "30-Z.conflist"));
  await until(() => network() === undefined);
});

test("a broken file is told and does not take the working one away", async () => {
  mkdirSync(dir);
  put("00-bad.conflist", "{");
  put("10-good.conflist", list("good"));
  await begin();
  assert.equal(network(), "good");
  assert.deepEqual(
    confDir.state.broken.map((one) => [one.file, one.kept]),
    [[join(dir, "00-bad.conflist"), false]],
  );
  // the one in use breaks: what it said last stays in use, before all that come after it
  put("20-other.conflist", list("other"));
  put("10-good.conflist", '{"name": "good", "plugins": [');
  await until(() => confDir.state.broken.length === 2);
  assert.deepEqual([network(), confDir.state.broken.map((one) => one.kept)], ["good", [false, true]]);
  put("10-good.conflist", list("better"));
  await until(() => network() === "better");
  put("00-bad.conflist", list("mended"));
  await until(() => network() === "mended" && confDir.state.broken.length === 0);
});

test("an editor that writes aside, renames away and renames in never leaves the node without a network", async () => {
  mkdirSync(dir);
  put("10-a.conflist", list("one"));
  const seen = new Set<string | undefined>();
  confDir = new ConfDir({ dir, log: silentLogger(), pollMs: 60_000, onChange: () => seen.add(network()) });
  await confDir.start();
  put("4913", "");
  unlinkSync(join(dir, "4913"));
  renameSync(join(dir, "10-a.conflist"), join(dir, "10-a.conflist~"));
  await sleep(50);
  put("10-a.conflist", "");
  put("10-a.conflist", list("two"));
  unlinkSync(join(dir, "10-a.conflist~"));
  await until(() => network() === "two");
  assert.deepEqual([...seen], ["one", "two"]);
});

test("a folder made later, taken away and made again", async () => {
  await begin(30);
  assert.match(confDir.state.problem ?? "", /net\.d does not exist/);
  mkdirSync(dir);
  put("10-a.conflist", list("a"));
  await until(() => network() === "a");
  assert.equal(confDir.state.problem, undefined);
  rmSync(dir, { recursive: true });
  await until(() => network() === undefined && confDir.state.problem !== undefined);
  mkdirSync(dir);
  put("10-a.conflist", list("again"));
  await until(() => network() === "again");
});

test("plugins in the folder named after the network are found, and their change is seen", async () => {
  mkdirSync(join(dir, "a"), { recursive: true });
  put("10-a.conflist", list("a"));
  put("a/20.conf", '{"type":"tuning"}');
  put("a/10.conf", '{"type":"portmap"}');
  put("a/ignored.txt", "{");
  await begin(30);
  const types = (): string => (confDir.state.network?.plugins ?? []).map((one) => one.type).join();
  assert.equal(types(), "bridge,portmap,tuning");
  put("a/30.conf", '{"type":"firewall"}');
  await until(() => types() === "bridge,portmap,tuning,firewall");
  put("a/30.conf", "{");
  await until(() => confDir.state.broken.length === 1);
  assert.equal(types(), "bridge,portmap,tuning,firewall");
});
