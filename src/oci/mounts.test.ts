import assert from "node:assert/strict";
import { test } from "node:test";
import { type BindMount, cleanPath, containerMounts, type MountsInput } from "./mounts.ts";

function bind(containerPath: string, change: Partial<BindMount> = {}): BindMount {
  return {
    containerPath,
    source: `/host${containerPath}`,
    readonly: false,
    recursiveReadonly: false,
    propagation: "private",
    uidMappings: [],
    gidMappings: [],
    options: [],
    ...change,
  };
}

function mountsOf(change: Partial<MountsInput>) {
  return containerMounts({
    binds: [],
    extra: [],
    privileged: false,
    bindSysfs: false,
    cgroupNamespace: false,
    cgroupMountOptions: [],
    recursiveReadonlySupported: true,
    ...change,
  });
}

const paths = (change: Partial<MountsInput>): string[] => mountsOf(change).mounts.map(({ destination }) => destination);

test("binds come after the defaults, shallow ones first; the order of equals is kept", () => {
  const all = paths({ binds: [bind("/a/b/c"), bind("/z"), bind("/a/b"), bind("/a")], extra: [bind("/etc/hosts")] });
  assert.deepEqual(all.slice(7), ["/z", "/a", "/a/b", "/etc/hosts", "/a/b/c"]);
});

test("a CRI mount replaces the runtime's own and the default at the same path; one at /dev all below", () => {
  assert.equal(paths({ binds: [bind("/etc/hosts/")], extra: [bind("/etc/hosts")] }).filter((path) => path.startsWith("/etc")).length, 1);
  assert.equal(mountsOf({ binds: [], extra: [bind("/dev/shm")] }).mounts.filter(({ destination }) => destination === "/dev/shm").length, 1);
  assert.deepEqual(
    paths({ binds: [bind("/dev")] }).filter((path) => path.startsWith("/dev")),
    ["/dev"],
  );
});

test("propagation must be possible on the host", () => {
  const shared = { mountPoint: "/m", optional: ["shared:1"] };
  const slave = { mountPoint: "/m", optional: ["master:1"] };
  const none = { mountPoint: "/m", optional: [] };
  const result = mountsOf({
    binds: [
      bind("/b", { propagation: "bidirectional", hostMount: shared }),
      bind("/s", { propagation: "host-to-container", hostMount: slave }),
    ],
  });
  assert.equal(result.rootfsPropagation, "rshared");
  assert.deepEqual(
    result.mounts.slice(-2).map(({ options }) => options[1]),
    ["rshared", "rslave"],
  );
  assert.throws(
    () => mountsOf({ binds: [bind("/b", { propagation: "bidirectional", hostMount: slave })] }),
    /path "\/host\/b" is mounted on "\/m" but it is not a shared mount/,
  );
  assert.throws(
    () => mountsOf({ binds: [bind("/b", { propagation: "host-to-container", hostMount: none })] }),
    /it is not a shared or slave mount/,
  );
  assert.equal(mountsOf({ binds: [bind("/b")] }).rootfsPropagation, undefined);
});

test("recursive read-only: its conditions", () => {
  const rro = { readonly: true, recursiveReadonly: true };
  assert.deepEqual(mountsOf({ binds: [bind("/r", rro)] }).mounts.at(-1)?.options, ["rbind", "rprivate", "rro"]);
  assert.throws(() => mountsOf({ binds: [bind("/r", { recursiveReadonly: true })] }), /conflicts with RW mount/);
  assert.throws(
    () =>
      mountsOf({
        binds: [bind("/r", { ...rro, propagation: "host-to-container", hostMount: { mountPoint: "/", optional: ["shared:1"] } })],
      }),
    /needs private propagation/,
  );
  assert.throws(() => mountsOf({ binds: [bind("/r", rro)], recursiveReadonlySupported: false }), /does not support recursive read-only/);
});

test("privileged: sysfs and cgroups writable", () => {
  const modes = (privileged: boolean): boolean[] =>
    mountsOf({ privileged })
      .mounts.filter(({ destination }) => destination.startsWith("/sys"))
      .map(({ options }) => options.includes("rw"));
  assert.deepEqual(modes(true), [true, true]);
  assert.deepEqual(modes(false), [false, false]);
});

test("options beyond the CRI's fields are a closed list", () => {
  assert.deepEqual(
    mountsOf({ binds: [bind("/n", { options: ["noexec"] })] })
      .mounts.at(-1)
      ?.options.at(-1),
    "noexec",
  );
  assert.throws(() => mountsOf({ binds: [bind("/n", { options: ["rshared"] })] }), /mount option "rshared"/);
});

test("cleanPath", () => {
  assert.equal(cleanPath("//a/./b/../c/"), "/a/c");
  assert.equal(cleanPath("/../.."), "/");
});
