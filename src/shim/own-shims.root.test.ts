import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readlinkSync } from "node:fs";
import { test } from "node:test";
import { type ShimBed, shimBed, shimBinaries } from "./test-shim.ts";

const limit = (ms = 20_000): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(ms) });

/** Run in a mount namespace where another file system lies over the state directory: same path, arguments and ids, as in a container. */
const insideProgram = `
  const [dir, id, binary, options, source] = process.argv.slice(1);
  const { Shims } = await import(source + "/shims.ts");
  const { silentLogger } = await import(source + "/../base/log.ts");
  const shims = new Shims({ stateDir: dir, namespace: "k8s.io", socketDir: dir + "/s", eventsAddress: dir + "/events.sock", log: silentLogger() });
  const signal = AbortSignal.timeout(20000);
  const shim = await shims.start({ id, bundle: dir + "/" + id, binary, runtimeOptions: JSON.parse(options) }, { signal });
  console.log(JSON.stringify({ started: shim.pid, listed: (await shims.list()).map(({ pid }) => pid) }));
  for await (const _ of process.stdin) continue;
  await shim.shutdown(id, { signal });
  await shim.closed;
  process.exit();`;

/** The shim of `pod` that a daemon in a mount namespace of its own starts; `end` ends it. */
async function startInside(
  bed: ShimBed,
  prepare: string,
  pod: string,
): Promise<{ started: number; listed: number[]; end(): Promise<void> }> {
  const args = [bed.dir, pod, shimBinaries[0]?.path ?? "", JSON.stringify(bed.options), import.meta.dirname];
  const run = 'exec "$NODE" --input-type=module -e "$PROGRAM" -- "$@"';
  const inside = spawn("unshare", ["--mount", "--propagation", "private", "--", "sh", "-ec", `${prepare}; ${run}`, "sh", ...args], {
    env: { ...process.env, NODE: process.execPath, PROGRAM: insideProgram },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(inside, "exit");
  const end = async (): Promise<void> => {
    inside.stdin.end();
    assert.deepEqual(await ended, [0, null]);
  };
  const line = await Promise.race([once(inside.stdout, "data"), ended.then(() => assert.fail("it ended at once"))]);
  return { ...(JSON.parse(String(line[0])) as { started: number; listed: number[] }), end };
}

test("daemons with the same paths in two mount namespaces see their own shims only", async () => {
  await using bed = await shimBed();
  const { path: binary } = shimBinaries[0] ?? { path: "" };
  const pod = await bed.bundle({});
  const shim = await bed.shims.start({ ...pod, binary, runtimeOptions: bed.options }, limit());
  const inside = await startInside(bed, 'cd "$1"; mount -t tmpfs tmpfs "$1"; cp -a "$2" "$1/"; mkdir "$1/s"', pod.id);
  try {
    assert.deepEqual(inside.listed, [inside.started]);
    assert.notEqual(inside.started, shim.pid);
    // The arguments of both are the same, and both are in one pid namespace.
    assert.equal(readFileSync(`/proc/${inside.started}/cmdline`, "utf8"), readFileSync(`/proc/${shim.pid}/cmdline`, "utf8"));
    const listed = await bed.shims.list();
    assert.deepEqual(
      listed.map(({ pid }) => pid),
      [shim.pid],
    );
    await shim.shutdown(pod.id, limit());
    await shim.closed;
  } finally {
    await inside.end();
  }
  assert.deepEqual(await bed.leftovers(), []);
});

test("a shim that an earlier daemon started in another mount namespace is still this daemon's", async () => {
  await using bed = await shimBed();
  const pod = await bed.bundle({});
  const inside = await startInside(bed, ":", pod.id);
  try {
    assert.notEqual(readlinkSync(`/proc/${inside.started}/ns/mnt`), readlinkSync("/proc/self/ns/mnt"));
    const listed = await bed.shims.list();
    assert.deepEqual(listed, [{ pid: inside.started, id: pod.id, bundle: pod.bundle, action: undefined }]);
  } finally {
    await inside.end();
  }
  assert.deepEqual(await bed.leftovers(), []);
});
