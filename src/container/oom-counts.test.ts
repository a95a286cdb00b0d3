import assert from "node:assert/strict";
import { test } from "node:test";
import type { ContainerContext } from "./context.ts";
import type { ContainerEntry } from "./entry.ts";
import { PodOomCounts } from "./oom-counts.ts";

/** A pod "p" whose cgroups count as `kills` says; a container that is not in it has no cgroup any more. */
function pod(kills: Record<string, number>, options: { version?: 1 | 2; parent?: string; children?: string[] } = {}) {
  const { version = 2, parent = "kubepods-podu_1.slice", children = [] } = options;
  const entries = new Map<string, ContainerEntry>();
  const context = {
    host: { cgroupVersion: version },
    entries,
    pods: {
      find: (id: string) =>
        id.startsWith("p") ? { config: { uid: "u-1" }, containerCgroupsPath: (of: string) => `${parent}:crid:${of}` } : undefined,
    },
    cgroups: { oomKills: async (path: string) => kills[path.split(":")[2] ?? path] ?? 0, children: async () => children },
  } as unknown as ContainerContext;
  const container = (id: string, sandboxId = "p"): ContainerEntry & { state: string } => {
    const entry = { id, state: "running", record: { sandboxId } } as unknown as ContainerEntry & { state: string };
    entries.set(id, entry);
    return entry;
  };
  return { context, container };
}
const slice = "/kubepods.slice/kubepods-podu_1.slice";

test("the count of a scope that systemd has removed is found in the pod's", async () => {
  const kills: Record<string, number> = { [slice]: 2 };
  const { context, container } = pod(kills);
  const counts = new PodOomCounts();
  const [a, b] = [container("a"), container("b")];
  await counts.begin(context, a);
  await counts.begin(context, b);
  // Two that nobody knows of were there before. Now a loses a child and lives on, and b is killed, its cgroup gone.
  kills[slice] = 5;
  kills[a.id] = 1;
  assert.equal(await counts.claim(context, b), 2);
  b.state = "exited";
  assert.equal(await counts.claim(context, b), 0, "once");
  // Then a ends for another reason.
  delete kills[a.id];
  assert.equal(await counts.claim(context, a), 1, "the child's");
});

test("a slice that pods of ours share counts as well, also when it has gone and come back", async () => {
  const shared = "/test.slice";
  const kills: Record<string, number> = { [shared]: 7 };
  const { context, container } = pod(kills, {
    parent: "test.slice",
    children: ["crid-p.scope", "crid-q.scope", "crid-a.scope", "crid-p2.scope"],
  });
  const counts = new PodOomCounts();
  const [a, b] = [container("a"), container("q", "p2")];
  await counts.begin(context, a);
  await counts.begin(context, b);
  kills[shared] = 8;
  assert.equal(await counts.claim(context, b), 1);
  assert.equal(await counts.claim(context, a), 0, "it is the other's");
  // Its units are gone, and with them the slice.
  counts.forget("p2");
  kills[shared] = 0;
  await counts.begin(context, a);
  kills[shared] = 1;
  assert.equal(await counts.claim(context, a), 1);
});

test("in a cgroup with others in it, or with v1, nothing is claimed", async () => {
  for (const options of [{ parent: "system.slice", children: ["crid-a.scope", "ssh.service"] }, { version: 1 as const }]) {
    const kills: Record<string, number> = { [slice]: 0, "/system.slice": 0 };
    const { context, container } = pod(kills, options);
    const counts = new PodOomCounts();
    const a = container("a");
    await counts.begin(context, a);
    kills[slice] = 3;
    kills["/system.slice"] = 3;
    assert.equal(await counts.claim(context, a), 0);
  }
});
