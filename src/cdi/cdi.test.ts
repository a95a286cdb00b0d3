import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { isKind } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import { Cdi } from "./cdi.ts";

let dir = "";
let dirs: string[] = [];
let cdi: Cdi;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "crid-cdi-"));
  dirs = [join(dir, "etc"), join(dir, "run")];
  cdi = new Cdi({ enabled: true, dirs, log: silentLogger() });
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function write(folder: number, name: string, content: unknown): string {
  const path = join(dirs[folder] ?? "", name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

const spec = (kind: string, ...devices: string[]) => ({
  cdiVersion: "0.5.0",
  kind,
  containerEdits: { env: [`KIND=${kind}`] },
  devices: devices.map((name) => ({ name, containerEdits: { env: [`DEVICE=${name}`] } })),
});

const env = async (...names: string[]) => (await cdi.resolve(names)).env;

test("the edits of a spec come once, before those of its first device", async () => {
  write(0, "a.json", spec("a.com/x", "1", "2"));
  write(0, "b.yaml", spec("b.com/x", "1"));
  assert.deepEqual(await env("a.com/x=2", "b.com/x=1", "a.com/x=1"), ["KIND=a.com/x", "DEVICE=2", "KIND=b.com/x", "DEVICE=1", "DEVICE=1"]);
});

test("folders that appear, files that come, change and go are seen by the next call", async () => {
  await assert.rejects(env("a.com/x=1"), /unresolvable CDI devices a\.com\/x=1/);
  const path = write(1, "a.json", spec("a.com/x", "1"));
  assert.deepEqual(await env("a.com/x=1"), ["KIND=a.com/x", "DEVICE=1"]);
  for (const value of ["b", "c", "d"]) {
    // The same size, within the same tick of the clock.
    writeFileSync(path, JSON.stringify(spec("a.com/x", "1")).replace("DEVICE=1", `DEVICE=${value}`));
    assert.deepEqual(await env("a.com/x=1"), ["KIND=a.com/x", `DEVICE=${value}`]);
  }
  renameSync(write(1, "new.tmp", spec("a.com/x", "9")), path);
  assert.deepEqual(await env("a.com/x=9"), ["KIND=a.com/x", "DEVICE=9"]);
  rmSync(path);
  await assert.rejects(env("a.com/x=9"), /unresolvable/);
});

test("a device of the later folder counts, whatever the earlier says", async () => {
  write(0, "a.json", spec("a.com/x", "1"));
  write(0, "b.json", spec("a.com/x", "1"));
  write(1, "a.json", { ...spec("a.com/x", "1"), containerEdits: { env: ["FROM=run"] } });
  assert.deepEqual(await env("a.com/x=1"), ["FROM=run", "DEVICE=1"]);
});

test("two files of one folder that name the same device: neither counts, other devices of them do", async () => {
  const first = write(1, "a.json", spec("a.com/x", "1", "2"));
  const second = write(1, "b.json", spec("a.com/x", "1", "3"));
  await assert.rejects(env("a.com/x=1"), /unresolvable CDI devices a\.com\/x=1/);
  assert.equal((await env("a.com/x=2", "a.com/x=3"))?.length, 4);
  const { errors } = await cdi.status();
  assert.deepEqual(Object.keys(errors), [second, first].sort());
  assert.match(errors[first]?.[0] ?? "", /conflicting device "a.com\/x=1"/);
});

test("a broken file is reported and leaves the others alone", async () => {
  write(0, "a.json", spec("a.com/x", "1"));
  const broken = write(0, "b.yaml", "cdiVersion: 0.5.0\nkind: b.com/x\ndevices: [{name: 1, containerEdits: {envs: [A=b]}}]\n");
  write(0, "c.txt", "not looked at");
  mkdirSync(join(dirs[0] ?? "", "d.json"));
  assert.equal((await env("a.com/x=1"))?.length, 2);
  const status = await cdi.status();
  assert.deepEqual(status.devices, { "a.com/x=1": join(dirs[0] ?? "", "a.json") });
  assert.deepEqual(status.errors, { [broken]: ["devices[0].containerEdits.envs: unknown field"] });
});

test("the error of an unknown device says where, what else there is, and what is broken", async () => {
  write(0, "a.json", spec("a.com/x", "1"));
  const broken = write(0, "b.json", "{");
  await assert.rejects(env("a.com/x=2", "b.com/y=1", "nonsense"), (error: unknown) => {
    assert.ok(isKind(error, "failed-precondition"));
    assert.ok(error.message.startsWith("unresolvable CDI devices a.com/x=2, b.com/y=1, nonsense: "), error.message);
    for (const part of [
      "of a.com/x there are: a.com/x=1",
      "no usable spec file has devices of b.com/y",
      "must be vendor/class=name",
      broken,
      ...dirs,
    ]) {
      assert.ok(error.message.includes(part), `${part} in ${error.message}`);
    }
    return true;
  });
});

test("turned off, nothing is resolved", async () => {
  write(0, "a.json", spec("a.com/x", "1"));
  cdi = new Cdi({ enabled: false, dirs, log: silentLogger() });
  await assert.rejects(env("a.com/x=1"), /cdi.enabled/);
  assert.deepEqual((await cdi.status()).devices, {});
});

test("a device node takes from the host what the spec leaves out", async () => {
  write(0, "a.json", {
    cdiVersion: "0.5.0",
    kind: "a.com/x",
    devices: [
      { name: "null", containerEdits: { deviceNodes: [{ path: "/dev/vendor0", hostPath: "/dev/null" }] } },
      { name: "full", containerEdits: { deviceNodes: [{ path: "/dev/absent", type: "b", major: 7, minor: 8 }] } },
      { name: "absent", containerEdits: { deviceNodes: [{ path: "/dev/absent" }] } },
      { name: "mismatch", containerEdits: { deviceNodes: [{ path: "/dev/null", type: "b" }] } },
      { name: "file", containerEdits: { deviceNodes: [{ path: "/etc/passwd" }] } },
    ],
  });
  const [node] = (await cdi.resolve(["a.com/x=null"])).deviceNodes;
  assert.deepEqual([node?.type, node?.major, node?.minor, node?.fileMode], ["c", 1, 3, 0o666]);
  assert.deepEqual((await cdi.resolve(["a.com/x=full"])).deviceNodes, [{ path: "/dev/absent", type: "b", major: 7, minor: 8 }]);
  await assert.rejects(cdi.resolve(["a.com/x=absent"]), /failed to stat CDI host device "\/dev\/absent"/);
  await assert.rejects(cdi.resolve(["a.com/x=mismatch"]), /the spec says type "b", \/dev\/null on the host is "c"/);
  await assert.rejects(cdi.resolve(["a.com/x=file"]), /not a device node/);
});
