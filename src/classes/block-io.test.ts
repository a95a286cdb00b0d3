import assert from "node:assert/strict";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { isKind, messageOf } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import { noOracle, Oracle } from "../cdi/testkit/oracle.ts";
import { matchBlockDevices } from "./block-devices.ts";
import { BlockIoClasses, type BlockIoLimits } from "./block-io.ts";

let dir = "";
let oracle: Oracle | undefined;
/** Two block devices of this machine. */
let [first, second] = ["", ""];
before(async () => {
  dir = mkdtempSync(join(tmpdir(), "crid-blockio-"));
  if (noOracle === false) oracle = new Oracle();
  const { devices } = await matchBlockDevices(["/dev/*"]);
  [first = "", second = ""] = devices.map(({ path }) => path);
});
after(async () => {
  await oracle?.[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

function classes(content: string, ignoreNotEnabledErrors = false): BlockIoClasses {
  const configFile = join(dir, "blockio.yaml");
  writeFileSync(configFile, content);
  return new BlockIoClasses({ configFile, ignoreNotEnabledErrors, log: silentLogger() });
}

test("a class becomes limits of the devices that are there; the later entry wins", async (t) => {
  if (first === "") return t.skip("needs a block device in /dev");
  symlinkSync(first, join(dir, "by-id"));
  const found = classes(`Classes:
  slow:
  - Weight: 80
  - Devices: [${first}, ${join(dir, "by-i*")}, /dev/null, /dev/absent]
    ThrottleReadBps: 50M
    throttlewriteiops: 10k
  - Devices: [${first}]
    ThrottleReadBps: 1Mi
  empty: []
`);
  const { devices } = await matchBlockDevices([first]);
  const { major, minor } = devices[0] ?? { major: -1, minor: -1 };
  assert.deepEqual(await found.resolve("slow"), {
    weight: 80,
    throttleReadBpsDevice: [{ major, minor, rate: 1_048_576 }],
    throttleWriteIOPSDevice: [{ major, minor, rate: 10_000 }],
  });
  assert.deepEqual(await found.resolve("empty"), {});
  assert.deepEqual((await found.status()).classes, ["empty", "slow"]);
});

test("a class that is not there, a bad value, a bad file, no file", async () => {
  const refused = (found: BlockIoClasses, name: string, message: RegExp) =>
    assert.rejects(found.resolve(name), (error: unknown) => isKind(error, "failed-precondition") && message.test(error.message), name);
  const found = classes("Classes: {a: [{Weight: 5, ThrottleReadBps: 5x}], b: [{ThrottleReadBps: 1}]}");
  await refused(found, "c", /has no such class \(it has: a, b\)/);
  await refused(found, "a", /Weight: 5 is out of range 10 to 1000; ThrottleReadBps: .* is not a quantity/);
  await refused(found, "b", /throttling needs Devices/);
  await refused(classes("Classes: {a: [{Wait: 5}]}"), "a", /Classes\.a\[0\]\.Wait: unknown field/);
  const none = new BlockIoClasses({ configFile: "", ignoreNotEnabledErrors: false, log: silentLogger() });
  await refused(none, "a", /runtime\.blockio\.configFile is not set/);
  assert.equal(await classes("{", true).resolve("a"), undefined);
  assert.match((await classes("{").status()).error, /cannot be used/);
  await refused(classes("Classes: {}", true), "a", /it has: none/);
});

test("goresctrl makes the same of the same file", { skip: noOracle }, async () => {
  const quantity = fc.oneof(fc.constantFrom("10M", "1Ki", "100", "0", "12e2", "1.5k", "250m", "-1", "x", "", "10 M"), fc.nat(1200));
  const entry = fc.record(
    {
      Devices: fc.array(fc.constantFrom(first, second, "/dev/loop*", "/dev/null", "/dev/absent"), { minLength: 1, maxLength: 3 }),
      Weight: quantity,
      ThrottleReadBps: quantity,
      ThrottleWriteBps: quantity,
      ThrottleReadIOPS: quantity,
      ThrottleWriteIOPS: quantity,
    },
    { requiredKeys: [] },
  );
  let made = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { minLength: 1, maxLength: 3 }), async (entries) => {
      const content = JSON.stringify({ Classes: { c: entries } });
      const theirs = await oracle?.ask({ op: "blockio", text: content });
      const ours = await classes(content)
        .resolve("c")
        .catch((error: unknown) => messageOf(error));
      if (theirs?.ok !== true) return void assert.equal(typeof ours, "string", `Go: ${theirs?.error}`);
      assert.ok(typeof ours === "object", String(ours));
      const { c } = theirs.result as { c: BlockIoLimits };
      assert.deepEqual(sorted(ours), sorted(c));
      made++;
    }),
    { numRuns: 300 },
  );
  assert.ok(made > 10, `${made} classes were made`);
});

/** Go goes through the devices of one entry in no order. */
function sorted(limits: BlockIoLimits | undefined): unknown {
  const entries = Object.entries(limits ?? {}).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.map((device) => JSON.stringify(device, Object.keys(device).sort())).sort() : value,
  ]);
  return Object.fromEntries(entries);
}
