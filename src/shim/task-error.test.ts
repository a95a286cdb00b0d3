import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, ConnectionClosedError, TtrpcError } from "ttrpc-node";
import { CridError } from "../base/errors.ts";
import { taskError, withoutNoise } from "./task-error.ts";

test("codes become kinds, and texts where the shim gives no code", () => {
  const cases: [Error, string][] = [
    [new TtrpcError(Code.NOT_FOUND, "process already finished: not found"), "not-found"],
    [new TtrpcError(Code.UNKNOWN, "process already finished"), "not-found"],
    [new TtrpcError(Code.UNKNOWN, "cannot start a stopped process: unknown"), "failed-precondition"],
    [new TtrpcError(Code.UNKNOWN, "something else"), "internal"],
    [
      new TtrpcError(
        Code.UNKNOWN,
        'OCI runtime exec failed: exec failed: unable to start container process: exec: "x": executable file not found in $PATH',
      ),
      "invalid-argument",
    ],
    [
      new TtrpcError(Code.UNKNOWN, 'runc create failed: unable to start container process: exec: "/etc": permission denied'),
      "invalid-argument",
    ],
    [new TtrpcError(Code.UNKNOWN, "crun: executable file `x` not found in $PATH: No such file or directory"), "invalid-argument"],
    [
      new TtrpcError(
        Code.UNKNOWN,
        'runc create failed: unable to start container process: chdir to cwd ("/x") set in config.json failed: no such file',
      ),
      "invalid-argument",
    ],
    [new TtrpcError(Code.UNKNOWN, "container init was OOM-killed (memory limit too low?)"), "resource-exhausted"],
    [new TtrpcError(Code.UNKNOWN, "mkdir /run/x: no space left on device"), "resource-exhausted"],
    [new TtrpcError(Code.UNKNOWN, "mount proc: operation not supported"), "failed-precondition"],
    [new TtrpcError(Code.ALREADY_EXISTS, "id x"), "already-exists"],
    [new TtrpcError(77, "a code of the future"), "internal"],
    [new ConnectionClosedError("ttrpc connection: closed by the peer"), "unavailable"],
    [new CridError("deadline-exceeded", "too late"), "deadline-exceeded"],
    [AbortSignal.abort().reason, "canceled"],
  ];
  for (const [error, kind] of cases) {
    const got = taskError(error, "start task 12ab");
    assert.equal(got.kind, kind, error.message);
    assert.ok(got.message.startsWith("start task 12ab: "), got.message);
    assert.equal(got.cause, error);
  }
});

test("runc's own words stay", () => {
  const runc =
    'runc create failed: unable to start container process: error during container init: exec: "foo": executable file not found in $PATH';
  assert.equal(withoutNoise(`failed to create shim task: OCI runtime create failed: ${runc}: unknown`), runc);
  assert.equal(withoutNoise("OCI runtime exec failed: exec failed: unknown"), "exec failed");
});
