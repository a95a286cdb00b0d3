import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { containerd } from "../../api/shim/task.js";
import { CridError } from "../base/errors.ts";
import { encodeBootstrapParams, parseBootstrapAnswer } from "./bootstrap.ts";

const { BootstrapParams, BootstrapResult } = containerd.runtime.bootstrap.v1;
const address = "unix:///run/crid/s/0123abcd";

test("the parameters carry the runc options as an extension, and a negative log level", () => {
  const bytes = encodeBootstrapParams({
    id: "a",
    namespace: "k8s.io",
    debug: true,
    eventsAddress: "/e",
    grpcAddress: "/g",
    socketDir: "/s",
    runtimeOptions: { binaryName: "crun", root: "/r", systemdCgroup: true },
  });
  const params = BootstrapParams.decode(bytes);
  assert.deepEqual([params.instanceId, params.namespace, params.logLevel, params.socketDir], ["a", "k8s.io", -4, "/s"]);
  const any = params.extensions[0]?.value;
  assert.equal(any?.type_url, "containerd.runc.v1.Options");
  const { binaryName, root, systemdCgroup } = containerd.runc.v1.Options.decode(any?.value ?? new Uint8Array(0));
  assert.deepEqual({ binaryName, root, systemdCgroup }, { binaryName: "crun", root: "/r", systemdCgroup: true });
});

test("the answer is read in its three forms", () => {
  const protobuf = Buffer.from(BootstrapResult.encode({ version: 3, address, protocol: "ttrpc" }).finish());
  assert.deepEqual(parseBootstrapAnswer(protobuf), { address, version: 3, form: "protobuf" });
  const json = Buffer.from(`{"version":2,"address":"${address}","protocol":"ttrpc"}`);
  assert.deepEqual(parseBootstrapAnswer(json), { address, version: 2, form: "json" });
  assert.deepEqual(parseBootstrapAnswer(Buffer.from(`${address}\n`)), { address, version: 2, form: "text" });
});

test("what is no answer, or one that crid cannot use, is refused", () => {
  for (const answer of [
    "",
    "panic: no",
    "{",
    `{"version":3,"address":"vsock://1","protocol":"ttrpc"}`,
    `{"version":3,"address":"${address}","protocol":"grpc"}`,
    `{"version":4,"address":"${address}","protocol":"ttrpc"}`,
  ]) {
    assert.throws(() => parseBootstrapAnswer(Buffer.from(answer)), { kind: "internal" }, answer);
  }
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      try {
        parseBootstrapAnswer(Buffer.from(bytes));
      } catch (error) {
        assert.ok(error instanceof CridError);
      }
    }),
  );
});
