import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isKind } from "../base/errors.ts";
import { detachAll } from "../linux/mount.ts";
import { readMountinfo } from "../linux/mountinfo.ts";
import { IdmappedMounts } from "./idmapped-mounts.ts";

const root = mkdtempSync(join(tmpdir(), "crid-idmapped-"));
const directory = join(root, "idmapped");
const mine = async (): Promise<string[]> =>
  (await readMountinfo()).map(({ mountPoint }) => mountPoint).filter((point) => point.startsWith(`${root}/`));

let inside: ChildProcess;
let userns = "";
before(async () => {
  inside = spawn("unshare", ["--user", "sleep", "600"], { stdio: "ignore" });
  userns = `/proc/${inside.pid}/ns/user`;
  while (readlinkSync(userns) === readlinkSync("/proc/self/ns/user")) await sleep(5);
  writeFileSync(`/proc/${inside.pid}/uid_map`, "0 200000 65536\n");
  writeFileSync(`/proc/${inside.pid}/gid_map`, "0 300000 65536\n");
});
after(async () => {
  inside.kill();
  for (const point of await mine()) detachAll(point);
  rmSync(root, { recursive: true, force: true });
});

/** Directories, each with a file of its own and the same one in all, owned by user 5 and group 6. */
function makeLowers(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const lower = join(root, name, String(index));
    mkdirSync(lower, { recursive: true });
    for (const file of [`of-${index}`, "top"]) {
      writeFileSync(join(lower, file), String(index));
      chownSync(join(lower, file), 5, 6);
    }
    return lower;
  });
}

function makeWritable(name: string): string {
  const writable = join(root, name);
  for (const part of ["fs", "work"]) mkdirSync(join(writable, part), { recursive: true });
  return writable;
}

const owner = (path: string): number[] => [lstatSync(path).uid, lstatSync(path).gid];

test("one layer, read-only", async () => {
  const mounts = new IdmappedMounts(directory);
  const path = await mounts.mount("one", { lowers: makeLowers("one", 1), writable: undefined, userns });
  assert.equal(await mounts.mount("one", { lowers: [], writable: undefined, userns: "/gone" }), path, "mounted already");
  assert.deepEqual(owner(join(path, "of-0")), [200_005, 300_006]);
  assert.throws(() => writeFileSync(join(path, "no"), ""), { code: "EROFS" });
  await mounts.release("one");
  await mounts.release("one");
  assert.deepEqual(await mine(), []);
  assert.deepEqual(readdirSync(directory), []);
});

// 200 paths are more than the page of options that mount(2) takes.
for (const count of [2, 200]) {
  test(`${count} layers and a writable part`, async () => {
    const mounts = new IdmappedMounts(directory);
    const lowers = makeLowers(`many-${count}`, count);
    const writable = makeWritable(`writable-${count}`);
    const path = await mounts.mount("many", { lowers, writable, userns });
    assert.deepEqual(await mine(), [path], "the mapped layers are not left in sight");
    assert.equal(readFileSync(join(path, "top"), "utf8"), String(count - 1), "the last layer is on top");
    assert.ok(existsSync(join(path, "of-0")));
    assert.deepEqual(owner(join(path, "top")), [200_005, 300_006]);
    writeFileSync(join(path, "top"), "changed");
    assert.deepEqual(owner(join(writable, "fs/top")), [200_005, 300_006], "what is written has the pod's ids on the host");
    await mounts.release("many");
    assert.deepEqual(await mine(), []);
  });
}

test("a restart keeps what is wanted, and sweeps the rest and what was half made", async () => {
  const before = new IdmappedMounts(directory);
  const wanted = await before.mount("wanted", { lowers: makeLowers("wanted", 2), writable: undefined, userns });
  await before.mount("unwanted", { lowers: makeLowers("unwanted", 1), writable: undefined, userns });
  await before.mount("half.layers/0", { lowers: makeLowers("half", 1), writable: undefined, userns });
  const after = new IdmappedMounts(directory);
  await after.sweep((key) => key === "wanted");
  assert.deepEqual(await mine(), [wanted]);
  assert.deepEqual(readdirSync(directory), ["wanted"]);
  await after.release("wanted");
});

test("a namespace that is gone leaves nothing mounted", async () => {
  const mounts = new IdmappedMounts(directory);
  const failing = mounts.mount("lost", { lowers: makeLowers("lost", 2), writable: undefined, userns: "/proc/0/ns/user" });
  await assert.rejects(failing, (error) => isKind(error, "not-found"));
  assert.deepEqual(await mine(), []);
  assert.deepEqual(readdirSync(directory), []);
});
