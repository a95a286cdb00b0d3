import assert from "node:assert/strict";
import { test } from "node:test";
import { containerRlimits } from "./spec-host.ts";

const limits = `Limit                     Soft Limit           Hard Limit           Units
Max open files            524288               524288               files
Max locked memory         8388608              8388608              bytes
`;

test("containers get the soft limit of open files that the service manager gave, whatever Node made of it", () => {
  const of = (softOpenFiles: string | undefined, configured: Record<string, { soft: number; hard: number }> = {}) =>
    containerRlimits({ configured, softOpenFiles, limits });
  assert.deepEqual(of("1024"), [{ type: "RLIMIT_NOFILE", soft: 1024, hard: 524_288 }]);
  assert.deepEqual(of("999999999"), [{ type: "RLIMIT_NOFILE", soft: 524_288, hard: 524_288 }]);
  // Not started by the launcher, or without a limit: as it is inherited.
  assert.deepEqual(of(undefined), []);
  assert.deepEqual(of("unlimited"), []);
  assert.deepEqual(containerRlimits({ configured: {}, softOpenFiles: "1024", limits: "" }), []);
  // The configuration's word counts.
  assert.deepEqual(of("1024", { nofile: { soft: 5, hard: 6 }, memlock: { soft: 1, hard: 1 } }), [
    { type: "RLIMIT_NOFILE", hard: 6, soft: 5 },
    { type: "RLIMIT_MEMLOCK", hard: 1, soft: 1 },
  ]);
});
