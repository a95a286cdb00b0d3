import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { silentLogger } from "../base/log.ts";
import { checkFilterTools, checkNetwork } from "./network.ts";

const directory = mkdtempSync(join(tmpdir(), "crid-doctor-"));
after(() => rmSync(directory, { recursive: true }));

test("no folder, no file, a missing plugin, a network", async () => {
  const config = { confDir: join(directory, "net.d"), binDirs: [join(directory, "bin")], gc: false };
  const look = async (): Promise<string> => {
    const [found] = await checkNetwork(config, silentLogger());
    return `${found?.verdict} ${found?.message}`;
  };
  assert.match(await look(), /^warning .*does not exist/);
  mkdirSync(config.confDir);
  assert.match(await look(), /^warning .*no \.conflist/);
  writeFileSync(join(config.confDir, "10.conflist"), JSON.stringify({ cniVersion: "1.0.0", name: "n", plugins: [{ type: "p" }] }));
  assert.match(await look(), /^warning .*plugin p: not found/);
  mkdirSync(join(directory, "bin"));
  writeFileSync(join(directory, "bin/p"), "", { mode: 0o755 });
  assert.match(await look(), /^ok CNI network n of/);
});

test("packet filters are looked for in the PATH", () => {
  writeFileSync(join(directory, "iptables"), "", { mode: 0o755 });
  assert.match(checkFilterTools(directory)[0]?.message ?? "", /iptables/);
});
