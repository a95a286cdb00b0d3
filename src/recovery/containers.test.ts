import assert from "node:assert/strict";
import { test } from "node:test";
import { CridError } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import { type ContainerRecoveryDeps, containerRecovery } from "./containers.ts";

/** One running container whose pod's shim answers `shim`; what was done with it. */
function running(shim: () => Promise<never>): { recovery: ReturnType<typeof containerRecovery>; lost: string[] } {
  const lost: string[] = [];
  const containers = {
    load: () => ({ interrupted: [] }),
    list: () => [{ record: { id: "c", status: { removing: false } } }],
    adopt: () => Promise.resolve(),
    lose: (id: string) => Promise.resolve(void lost.push(id)),
  };
  const deps = { containers, sandboxes: { find: () => ({ shim }) }, logger: { list: async () => [] }, log: silentLogger() };
  return { recovery: containerRecovery(deps as unknown as ContainerRecoveryDeps), lost };
}

test("a dead shim takes its containers with it", async () => {
  const { recovery, lost } = running(() => Promise.reject(new CridError("unavailable", "nobody listens")));
  await recovery.recover("p", { signal: new AbortController().signal });
  assert.deepEqual(lost, ["c"]);
});

test("a daemon that is told to stop while it recovers ends no container", async () => {
  const stopping = new AbortController();
  const { recovery, lost } = running(() => {
    stopping.abort(new CridError("unavailable", "the daemon is stopping"));
    return Promise.reject(stopping.signal.reason);
  });
  await recovery.recover("p", { signal: stopping.signal });
  assert.deepEqual(lost, []);
});
