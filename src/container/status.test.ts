import assert from "node:assert/strict";
import { test } from "node:test";
import type { MountEntry } from "../linux/mountinfo.ts";
import { NO_RESOURCES } from "../oci/fixtures.ts";
import type { ContainerStatusRecord } from "../records/container-record.ts";
import { mountOf } from "./host-lookups.ts";
import { stateOf } from "./status.ts";

const fresh: ContainerStatusRecord = {
  createdAt: 1n,
  startedAt: 0n,
  finishedAt: 0n,
  exitCode: 0,
  reason: "",
  message: "",
  creating: false,
  removing: false,
  resources: NO_RESOURCES,
};

test("the state follows from the times", () => {
  assert.equal(stateOf(fresh), "created");
  assert.equal(stateOf(fresh, true), "created");
  assert.equal(stateOf({ ...fresh, startedAt: 2n }), "running");
  assert.equal(stateOf({ ...fresh, startedAt: 2n }, true), "unknown");
  assert.equal(stateOf({ ...fresh, startedAt: 2n, finishedAt: 3n }, true), "exited");
  // A start that failed.
  assert.equal(stateOf({ ...fresh, finishedAt: 3n }), "exited");
});

test("the mount that a path lies on: the deepest, of two on one point the upper", () => {
  const mount = (id: number, mountPoint: string): MountEntry => ({
    id,
    parentId: 0,
    device: "",
    root: "/",
    mountPoint,
    options: [],
    optional: [],
    fsType: "",
    source: "",
    superOptions: [],
  });
  const mounts = [mount(1, "/"), mount(2, "/a"), mount(3, "/a/b"), mount(4, "/a")];
  assert.equal(mountOf("/a/b/c", mounts)?.id, 3);
  assert.equal(mountOf("/a/bc", mounts)?.id, 4);
  assert.equal(mountOf("/x", mounts)?.id, 1);
  assert.equal(mountOf("/a", mounts)?.id, 4);
});
