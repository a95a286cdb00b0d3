import assert from "node:assert/strict";
import { test } from "node:test";
import { parseShimArgv } from "./shim-processes.ts";
import { shimAddresses } from "./shim-sockets.ts";

const setting = { grpcAddress: "/run/crid/crid.sock", namespace: "k8s.io" };
const argv = ["/bin/shim", "-namespace", "k8s.io", "-id", "abc", "-address", "/run/crid/crid.sock", ""];

test("a shim of this daemon is known by its arguments", () => {
  assert.deepEqual(parseShimArgv(argv, setting), { id: "abc", action: undefined });
  assert.deepEqual(parseShimArgv([...argv.slice(0, -1), "-debug"], setting), { id: "abc", action: undefined });
  assert.deepEqual(parseShimArgv([...argv, "start"], setting), { id: "abc", action: "start" });
  assert.equal(parseShimArgv(argv, { ...setting, grpcAddress: "/run/containerd/containerd.sock" }), undefined);
  assert.equal(parseShimArgv(argv, { ...setting, namespace: "moby" }), undefined);
  assert.equal(parseShimArgv([], setting), undefined);
  assert.equal(parseShimArgv(["x", "-id"], setting), undefined);
});

test("addresses are those that the shims compute", () => {
  // echo -n /run/crid/crid.sock/k8s.io/abc | sha256sum
  const name = "f1a4b2e293e4c81903e6e1567f6e8bf9faeb797a1881597a9d95edc5ca634589";
  const addresses = shimAddresses({ ...setting, socketDir: "/run/crid/s", group: "abc" });
  assert.deepEqual(addresses, [`unix:///run/crid/s/${name}`, `unix:///run/containerd/s/${name}`]);
});
