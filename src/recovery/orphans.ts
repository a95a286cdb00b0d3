import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import { CridError, isErrno, isKind } from "../base/errors.ts";
import { linkSignals } from "../base/signals.ts";
import { detachAll } from "../linux/mount.ts";
import { readMountinfo } from "../linux/mountinfo.ts";
import { kill } from "../linux/process.ts";
import { spawnProcess } from "../linux/spawn.ts";
import { runtimeHandler } from "../sandbox/runtime-handlers.ts";
import type { RecoveryDeps } from "./deps.ts";

const ITEM_TIMEOUT_MS = 30_000;
const SIGKILL = 9;

/** One thing that no record named. */
export interface Orphan {
  kind: string;
  id: string;
}

/** One kind of thing that crid makes outside of its store. */
interface Kind {
  kind: string;
  /** The ids of all there are. */
  list(): Promise<string[]>;
  /** Whether a record names it. */
  known(id: string): boolean;
  remove(id: string, o: { signal: AbortSignal }): Promise<void>;
}

/**
 * Removes what no record names: processes first, then what they held. Every removal is logged with its reason; one that fails is left
 * for the next start.
 */
export async function sweepOrphans(deps: RecoveryDeps, options: { signal: AbortSignal }): Promise<Orphan[]> {
  const swept: Orphan[] = [];
  for (const kind of kinds(deps)) {
    for (const id of await listed(deps, kind)) {
      if (options.signal.aborted) return swept;
      if (kind.known(id)) continue;
      deps.log.warn({ kind: kind.kind, id }, `removing a ${kind.kind} that no record names`);
      using link = linkSignals({ signals: [options.signal], timeoutMs: ITEM_TIMEOUT_MS, step: `remove ${kind.kind} ${id}` });
      try {
        await kind.remove(id, { signal: link.signal });
        swept.push({ kind: kind.kind, id });
      } catch (error) {
        deps.log.warn({ kind: kind.kind, id, err: error }, "could not remove it; the next start tries again");
      }
    }
  }
  return swept;
}

async function listed(deps: RecoveryDeps, kind: Kind): Promise<string[]> {
  try {
    return await kind.list();
  } catch (error) {
    deps.log.warn({ kind: kind.kind, err: error }, "could not look for leftovers");
    return [];
  }
}

function kinds(deps: RecoveryDeps): Kind[] {
  const { store, settings, shims, netns, snapshots, logger } = deps;
  const pod = (id: string): boolean => store.sandboxes.get(id) !== undefined;
  const container = (id: string): boolean => store.containers.get(id) !== undefined;
  const either = (id: string): boolean => pod(id) || container(id);
  const all: Kind[] = [
    {
      kind: "shim",
      list: async () => (await shims.list()).map(({ id }) => id),
      // One whose pod is stopped and has no shim on record was left by a Stop that was killed; unless somebody is at it now.
      known: (id) => pod(id) && (store.sandboxes.get(id)?.process !== undefined || deps.sandboxes.env.locks.isLocked(id)),
      remove: (id) => killShims(deps, id),
    },
    { kind: "bundle", list: () => names(settings.bundlesDir), known: either, remove: (id, o) => removeBundle(deps, id, o) },
    {
      kind: "state of the OCI runtime",
      list: () => names(deps.runtimeStateDir),
      known: either,
      remove: (id, o) => deleteRuntimeState(deps, id, o),
    },
    { kind: "pod directory", list: () => names(settings.podsDir), known: pod, remove: (id) => removeTree(path.join(settings.podsDir, id)) },
    {
      kind: "container directory",
      list: () => names(deps.containersDir),
      known: container,
      remove: (id) => removeTree(path.join(deps.containersDir, id)),
    },
    { kind: "network namespace", list: () => netns.list(), known: pod, remove: (id) => netns.remove(id) },
  ];
  if (logger !== undefined) {
    all.push({ kind: "log", list: () => logger.list(), known: container, remove: (id) => logger.close(id) });
  }
  if (snapshots !== undefined) {
    const volume = (key: string): boolean =>
      store.containers.all().some(({ imageMounts }) => imageMounts.some(({ snapshotKey }) => snapshotKey === key));
    all.push({
      kind: "root file system",
      list: async () => snapshots.keys(),
      known: (key) => either(key) || volume(key),
      remove: (key) => snapshots.remove(key),
    });
  }
  return all;
}

async function names(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir)).filter((name) => !name.startsWith("."));
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
}

async function killShims(deps: RecoveryDeps, id: string): Promise<void> {
  for (const shim of await deps.shims.list()) if (shim.id === id) kill(shim.pid, SIGKILL);
}

/** The shim's `delete` action kills what runs from it and unmounts it. */
async function removeBundle(deps: RecoveryDeps, id: string, options: { signal: AbortSignal }): Promise<void> {
  const bundle = path.join(deps.settings.bundlesDir, id);
  try {
    const { shimBinary } = runtimeHandler("", deps.settings);
    await deps.shims.delete({ id, bundle, binary: shimBinary }, options);
  } catch (error) {
    if (!isKind(error, "not-found")) deps.log.warn({ id, err: error }, "the shim's delete failed on a bundle that no record names");
  }
  await removeTree(bundle);
}

async function deleteRuntimeState(deps: RecoveryDeps, id: string, options: { signal: AbortSignal }): Promise<void> {
  const { options: runtime } = runtimeHandler("", deps.settings);
  const result = await spawnProcess({
    file: runtime.binaryName,
    args: ["--root", deps.runtimeStateDir, "delete", "--force", id],
    env: { PATH: process.env.PATH ?? "" },
    signal: options.signal,
    timeoutMs: ITEM_TIMEOUT_MS,
  });
  if (result.status === 0) return;
  throw new CridError("internal", `${runtime.binaryName} delete --force ${id}: ${result.stderr.toString().trim()}`);
}

/** Unmounts what is mounted below, the deepest first, then deletes. */
async function removeTree(dir: string): Promise<void> {
  const below = (await readMountinfo()).map(({ mountPoint }) => mountPoint).filter((point) => point === dir || point.startsWith(`${dir}/`));
  for (const point of below.toReversed()) detachAll(point);
  await rm(dir, { recursive: true, force: true });
}
