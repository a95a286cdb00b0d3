import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { silentLogger } from "../base/log.ts";
import { Cdi } from "../cdi/cdi.ts";
import { noOracle, Oracle } from "../cdi/testkit/oracle.ts";
import { injectCdiEdits } from "./cdi-edits.ts";
import type { OciSpec } from "./spec.ts";

let dir = "";
let cdi: Cdi;
let oracle: Oracle | undefined;
before(() => {
  dir = mkdtempSync(join(tmpdir(), "crid-cdi-edits-"));
  cdi = new Cdi({ enabled: true, dirs: [dir], log: silentLogger() });
  if (noOracle === false) oracle = new Oracle();
});
after(async () => {
  await oracle?.[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

function baseSpec(change: { uid?: number; gid?: number; env?: string[]; userns?: boolean } = {}): OciSpec {
  const { uid = 0, gid = 0, env = ["PATH=/bin", "A=1", "B=", "A=2"], userns = false } = change;
  return {
    ociVersion: "1.1.0",
    process: {
      terminal: false,
      user: { uid, gid, additionalGids: [10] },
      args: ["sh"],
      env: [...env],
      cwd: "/",
      capabilities: { bounding: [], effective: [], permitted: [], inheritable: [], ambient: [] },
      noNewPrivileges: false,
    },
    root: { path: "rootfs", readonly: false },
    mounts: ["/proc", "/dev", "/dev/pts", "/dev/shm", "/sys", "/a/b/c", "/a"].map((destination) => ({
      destination,
      type: "tmpfs",
      source: "none",
      options: ["nosuid"],
    })),
    annotations: {},
    linux: {
      namespaces: [{ type: "mount" }, ...(userns ? [{ type: "user" } as const] : [])],
      devices: [{ type: "c", path: "/dev/fuse", major: 10, minor: 229 }],
      cgroupsPath: "/x",
      resources: { devices: [{ allow: false, access: "rwm" }] },
      maskedPaths: [],
      readonlyPaths: [],
    },
  };
}

const write = (edits: object[], specEdits: object = {}): string[] => {
  const devices = edits.map((containerEdits, index) => ({ name: `d${index}`, containerEdits }));
  writeFileSync(join(dir, "a.json"), JSON.stringify({ cdiVersion: "1.1.0", kind: "v/c", devices, containerEdits: specEdits }));
  return devices.map(({ name }) => `v/c=${name}`);
};

async function injected(spec: OciSpec, names: readonly string[]): Promise<OciSpec> {
  injectCdiEdits(spec, await cdi.resolve(names));
  return spec;
}

test("every edit finds its place in the spec", async () => {
  const [name = ""] = write([
    {
      env: ["A=new", "C=3"],
      deviceNodes: [
        { path: "/dev/vendor0", hostPath: "/dev/null", permissions: "rw" },
        { path: "/dev/fuse", type: "c", major: 10, minor: 1, fileMode: 0o600 },
      ],
      netDevices: [{ hostInterfaceName: "eth9", name: "fast0" }],
      mounts: [
        { hostPath: "/lib/v", containerPath: "/a/b", options: ["ro", "rbind"] },
        { hostPath: "/lib/w", containerPath: "/a" },
      ],
      hooks: [{ hookName: "createRuntime", path: "/bin/hook", args: ["hook", "x"], timeout: 3 }],
      intelRdt: { closID: "gold" },
      additionalGids: [0, 10, 44],
    },
  ]);
  const { process, linux, mounts, hooks } = await injected(baseSpec({ uid: 1000, gid: 1001, userns: true }), [name]);
  assert.deepEqual(process.env, ["PATH=/bin", "A=1", "B=", "A=new", "C=3"]);
  assert.deepEqual(process.user.additionalGids, [10, 44]);
  assert.deepEqual(linux.devices, [
    { path: "/dev/vendor0", type: "c", major: 1, minor: 3, fileMode: 0o666, uid: 1000, gid: 1001 },
    { path: "/dev/fuse", type: "c", major: 10, minor: 1, fileMode: 0o600, uid: 1000, gid: 1001 },
  ]);
  assert.deepEqual(linux.resources.devices, [
    { allow: false, access: "rwm" },
    { allow: true, type: "c", major: 1, minor: 3, access: "rw" },
    { allow: true, type: "c", major: 10, minor: 1, access: "rwm" },
  ]);
  assert.deepEqual(linux.netDevices, { eth9: { name: "fast0" } });
  assert.deepEqual(linux.intelRdt, { closID: "gold" });
  assert.deepEqual(
    mounts.map(({ destination }) => destination),
    ["/proc", "/dev", "/sys", "/a", "/dev/pts", "/dev/shm", "/a/b", "/a/b/c"],
  );
  assert.deepEqual(mounts.find(({ destination }) => destination === "/a/b")?.options, ["ro", "rbind", "ridmap"]);
  assert.deepEqual(hooks, { createRuntime: [{ path: "/bin/hook", args: ["hook", "x"], timeout: 3 }] });
});

const short = <T>(item: fc.Arbitrary<T>) => fc.array(item, { maxLength: 3 });
const optional = <T>(item: fc.Arbitrary<T>) => fc.option(item, { nil: undefined });
const env = fc.constantFrom("A=x", "B=y=z", "C=", "PATH=/vendor", "D=1");
const path = fc.constantFrom("/a", "/a/", "/a/b", "/dev", "/dev/shm", "/x//y", "/", "relative", "/a/../b/c");
const edits = fc.record({
  env: fc.tuple(env, short(env)).map(([first, rest]) => [first, ...rest]),
  deviceNodes: short(
    fc.record({
      path: fc.constantFrom("/dev/null", "/dev/fuse", "/dev/vendor0"),
      hostPath: optional(fc.constantFrom("/dev/null", "/dev/zero", "/dev/absent", "/etc/passwd")),
      type: optional(fc.constantFrom("b", "c", "u", "p")),
      major: optional(fc.nat(3)),
      minor: optional(fc.nat(3)),
      fileMode: optional(fc.nat(0o777)),
      permissions: optional(fc.constantFrom("rw", "none", "")),
      uid: optional(fc.nat(2)),
      gid: optional(fc.nat(2)),
    }),
  ),
  netDevices: optional(
    fc.constantFrom(
      [{ hostInterfaceName: "eth1", name: "a" }],
      [
        { hostInterfaceName: "eth1", name: "b" },
        { hostInterfaceName: "eth2", name: "c" },
      ],
    ),
  ),
  mounts: short(
    fc.record({
      hostPath: fc.constant("/host"),
      containerPath: path,
      type: optional(fc.constantFrom("bind", "tmpfs", "")),
      options: optional(short(fc.constantFrom("bind", "rbind", "ro", "idmap"))),
    }),
  ),
  hooks: short(
    fc.record({
      hookName: fc.constantFrom("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"),
      path: fc.constant("/bin/hook"),
      args: optional(short(fc.constant("x"))),
      env: optional(short(env)),
      timeout: optional(fc.nat(3)),
    }),
  ),
  intelRdt: optional(fc.constantFrom({ closID: "gold" }, { l3CacheSchema: "L3:0=f", schemata: ["MB:0=1"], enableMonitoring: true })),
  additionalGids: optional(short(fc.nat(12))),
});

test("the Go library makes the same spec of the same edits, and refuses the same", { skip: noOracle }, async () => {
  const change = fc.record({ uid: fc.nat(1), gid: fc.nat(1), userns: fc.boolean(), env: short(env) });
  let made = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(edits, { minLength: 1, maxLength: 3 }), optional(edits), change, async (devices, specEdits, base) => {
      const names = write(devices, specEdits ?? {}).reverse();
      const theirs = await oracle?.ask({ op: "inject", dirs: [dir], devices: names, spec: baseSpec(base) });
      if (theirs?.ok !== true) return void (await assert.rejects(injected(baseSpec(base), names), `Go: ${theirs?.error}`));
      const ours = await injected(baseSpec(base), names);
      // Through Go's types too, which leave out what is empty.
      const same = await oracle?.ask({ op: "inject", dirs: [dir], devices: [], spec: ours });
      assert.deepEqual(same?.result, theirs.result);
      made++;
    }),
    { numRuns: 300 },
  );
  assert.ok(made > 30, `${made} specs were made`);
});
