import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Client } from "ttrpc-node";
import { containerd } from "../../api/shim/task.js";
import { silentLogger } from "../base/log.ts";
import { EventServer, type TaskEvent } from "./event-server.ts";

const { ForwardRequest } = containerd.services.events.ttrpc.v1;
const events = containerd.events;

test("events reach every subscriber; unknown and broken ones harm nobody", async () => {
  const dir = await mkdtemp(join(tmpdir(), "crid-events-"));
  try {
    const path = join(dir, "events.sock");
    const crashed = new EventServer({ path, log: silentLogger() });
    await crashed.listen();
    const server = new EventServer({ path, log: silentLogger() });
    const got: TaskEvent[] = [];
    server.subscribe(() => {
      throw new Error("a handler's fault");
    });
    const unsubscribe = server.subscribe((event) => got.push(event));
    // The socket of before is in the way, and is taken over.
    await server.listen();
    const client = await Client.connect(path);
    const forward = (topic: string, value: Uint8Array): Promise<Uint8Array> => {
      const request = ForwardRequest.encode({ envelope: { namespace: "k8s.io", topic, event: { type_url: topic, value } } }).finish();
      return client.call("containerd.services.events.ttrpc.v1.Events", "Forward", request);
    };
    const exitedAt = { seconds: 1_700_000_000n, nanos: 5 };
    await forward("/tasks/exit", events.TaskExit.encode({ containerId: "c", id: "c", pid: 7, exitStatus: 3, exitedAt }).finish());
    await forward("/tasks/exit", events.TaskExit.encode({ containerId: "c", id: "e", pid: 8, exitStatus: 0 }).finish());
    await forward("/tasks/oom", events.TaskOOM.encode({ containerId: "c" }).finish());
    await forward("/tasks/unheard-of", new Uint8Array(0));
    await assert.rejects(forward("/tasks/exit", Buffer.from([0x0a, 0xff])));
    unsubscribe();
    await forward("/tasks/oom", events.TaskOOM.encode({ containerId: "d" }).finish());
    assert.deepEqual(got, [
      { topic: "exit", containerId: "c", execId: "", pid: 7, exitStatus: 3, exitedAt: 1_700_000_000_000_000_005n },
      { topic: "exit", containerId: "c", execId: "e", pid: 8, exitStatus: 0, exitedAt: 0n },
      { topic: "oom", containerId: "c" },
    ]);
    client.close();
    await server.close();
    await crashed.close();
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
