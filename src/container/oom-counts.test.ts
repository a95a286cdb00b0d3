import assert from "node:assert/strict";
import { test } from "node:test";
import type { ContainerContext } from "./context.ts";
import type { ContainerEntry } from "./entry.ts";
import { PodOomCounts } from "./oom-counts.ts";

/** A pod "p" whose cgroups count as `kills` says; a container that is not in it has no cgroup any more. */
function pod(kills: Record<string, number>, options: { version?: 1 | 2; parent?: string } = {}) {
  const { version = 2, parent = "kubepods-podu_1.slice" } = options;
  const entries = new Map<string, ContainerEntry>();
  const context = {
    host: { cgroupVersion: version },
    entries,
    pods: { find: () => ({ config: { uid: "u-1" }, containerCgroupsPath: (id: string) => `${parent}:crid:${id}` }) },
    cgroups: { oomKills: async (path: string) => kills[path.split(":")[2] ?? path] ?? 0 },
  } as unknown as ContainerContext;
  const container = (id: string): ContainerEntry & { state: string } => {
    const entry = { id, state: "running", record: { sandboxId: "p" } } as unknown as ContainerEntry & { state: string };
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

test("without a cgroup that is the pod's alone, or with v1, nothing is claimed", async () => {
  for (const options of [{ parent: "system.slice" }, { version: 1 as const }]) {
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
