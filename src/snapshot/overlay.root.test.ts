import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { unpackLayer } from "../archive/unpack.ts";
import { defaultUnpackLimits } from "../archive/unpack-job.ts";
import { silentLogger } from "../base/log.ts";
import { detachAll, MS_BIND, MS_RDONLY, MS_REMOUNT, mount } from "../linux/mount.ts";
import { readMountinfo } from "../linux/mountinfo.ts";
import { layerDirectory } from "./layer-name.ts";
import { OverlaySnapshotter } from "./overlay.ts";
import type { LayerForm, RootfsMount } from "./snapshotter.ts";

const root = mkdtempSync(join(tmpdir(), "crid-overlay-"));
const signal = AbortSignal.timeout(60_000);
const point = join(root, "mnt");
mkdirSync(point);
after(async () => {
  detachAll(point);
  for (const { mountPoint } of await readMountinfo()) if (mountPoint.startsWith(`${root}/`)) detachAll(mountPoint);
  rmSync(root, { recursive: true, force: true });
});

function chain(name: string): string {
  return `sha256:${createHash("sha256").update(name).digest("hex")}`;
}

function openAt(path: string, form: LayerForm = "directory"): Promise<OverlaySnapshotter> {
  return OverlaySnapshotter.open({ root: path, mounts: `${path}-mounts`, form, log: silentLogger() });
}

const nothing = { tarBytes: 0, bytes: 10, inodes: 2, inflateMs: 0, writeMs: 0, syncMs: 0 };

async function layer(
  snapshotter: OverlaySnapshotter,
  name: string,
  parents: string[],
  fill: (path: string) => void,
  fixups = {},
): Promise<void> {
  const stage = await snapshotter.beginLayer(chain(name), parents.map(chain));
  fill(stage.target.path);
  await stage.commit({ ...nothing, fixups: { impliedDirectories: [], foreignLinks: [], ...fixups } });
}

function mounted<T>(mounts: RootfsMount[], use: (path: string) => T): T {
  const [only] = mounts;
  assert.ok(only !== undefined && mounts.length === 1);
  if (only.type === "overlay") mount(only.source, point, "overlay", 0, only.options.join(","));
  else {
    mount(only.source, point, "", MS_BIND);
    mount("", point, "", MS_REMOUNT | MS_BIND | MS_RDONLY);
  }
  try {
    return use(point);
  } finally {
    detachAll(point);
  }
}

test("layers and the writable part make one tree; a restart finds everything", async () => {
  const snapshotter = await openAt(join(root, "a"));
  await layer(snapshotter, "base", [], (path) => {
    mkdirSync(join(path, "tmp"));
    chmodSync(join(path, "tmp"), 0o1777);
    writeFileSync(join(path, "below"), "below");
    chmodSync(join(path, "below"), 0o751);
    chmodSync(path, 0o711);
  });
  await layer(
    snapshotter,
    "top",
    ["base"],
    (path) => {
      mkdirSync(join(path, "tmp"));
      writeFileSync(join(path, "tmp/x"), "x");
    },
    { impliedDirectories: ["", "tmp"], foreignLinks: [{ path: "linked", target: "below" }] },
  );
  const mounts = await snapshotter.prepare("c1", [chain("base"), chain("top")]);
  assert.deepEqual(await snapshotter.prepare("c1", [chain("base"), chain("top")]), mounts);
  mounted(mounts, (path) => {
    assert.deepEqual(readdirSync(path).sort(), ["below", "linked", "tmp"]);
    assert.equal(lstatSync(join(path, "tmp")).mode & 0o7777, 0o1777, "an implied directory keeps the mode of the one below");
    assert.equal(lstatSync(path).mode & 0o7777, 0o711);
    assert.equal(readFileSync(join(path, "linked"), "utf8"), "below");
    assert.equal(lstatSync(join(path, "linked")).mode & 0o7777, 0o751);
    writeFileSync(join(path, "written"), Buffer.alloc(100_000));
  });
  assert.ok((await snapshotter.usage("c1")).bytes >= 100_000);
  assert.deepEqual(snapshotter.layerUsage(chain("base")), { bytes: 10, inodes: 2 });

  const again = await openAt(join(root, "a"));
  assert.deepEqual(again.layers().sort(), [chain("base"), chain("top")].sort());
  assert.deepEqual(again.keys(), ["c1"]);
  mounted(await again.prepare("c1", [chain("base"), chain("top")]), (path) => assert.ok(existsSync(join(path, "written"))));

  mounted(await again.prepare("ro", [chain("base")], { readonly: true }), (path) => {
    assert.equal(readFileSync(join(path, "below"), "utf8"), "below");
    assert.throws(() => writeFileSync(join(path, "no"), ""), { code: "EROFS" });
  });
  for (const key of again.keys()) await again.remove(key);
  await again.remove("never there");
  for (const id of again.layers()) await again.removeLayer(id);
  for (const part of ["layers", "staging", "rootfs"]) assert.deepEqual(readdirSync(join(root, "a", part)), [], part);
});

test("an uncommitted layer is swept, a damaged one removed, and neither is offered", async () => {
  const path = join(root, "b");
  const snapshotter = await openAt(path);
  await snapshotter.beginLayer(chain("half"), []);
  await layer(snapshotter, "whole", [], () => undefined);
  await layer(snapshotter, "damaged", [], () => undefined);
  rmSync(join(path, "layers", layerDirectory(chain("damaged")), "layer.json"));
  const again = await openAt(path);
  assert.deepEqual(again.layers(), [chain("whole")]);
  assert.deepEqual(readdirSync(join(path, "staging")), []);
  await assert.rejects(again.prepare("x", [chain("damaged")]), /pull the image again/);
  await layer(again, "damaged", [], () => undefined);
  assert.ok(again.hasLayer(chain("damaged")));
});

test("a second commit of the same layer succeeds and leaves one", async () => {
  const path = join(root, "c");
  const snapshotter = await openAt(path);
  const stages = [await snapshotter.beginLayer(chain("one"), []), await snapshotter.beginLayer(chain("one"), [])];
  for (const stage of stages) await stage.commit({ ...nothing, fixups: { impliedDirectories: [], foreignLinks: [] } });
  assert.deepEqual(readdirSync(join(path, "staging")), []);
  assert.equal(readdirSync(join(path, "layers")).length, 1);
});

test("a hard link to a file of no layer, or through a link that leads out of a layer, is refused", async () => {
  const snapshotter = await openAt(join(root, "d"));
  await layer(snapshotter, "base", [], (path) => {
    mkdirSync(join(path, "dir"));
  });
  await layer(snapshotter, "out", ["base"], (path) => symlinkSync("/etc", join(path, "etc")));
  for (const target of ["nothing", "etc/passwd", "dir"]) {
    const stage = await snapshotter.beginLayer(chain(target), [chain("base"), chain("out")]);
    await assert.rejects(
      stage.commit({ ...nothing, fixups: { impliedDirectories: [], foreignLinks: [{ path: "x", target }] } }),
      /which no layer has/,
    );
    await stage.abort();
  }
});

/** A tar of one directory with files, unpacked into the stage as a pull does it. */
async function pulled(snapshotter: OverlaySnapshotter, name: string, parents: string[], script: string, form?: LayerForm): Promise<void> {
  const tree = mkdtempSync(join(root, "tree-"));
  execFileSync("bash", ["-euc", script], { cwd: tree });
  const file = `${tree}.tar`;
  execFileSync("bash", ["-euc", `tar --format=posix -cf ${file} $(ls -A ${tree})`], { cwd: tree });
  const stage = await snapshotter.beginLayer(chain(name), parents.map(chain), form);
  const expectedDiffId = `sha256:${createHash("sha256").update(readFileSync(file)).digest("hex")}`;
  const job = { file, blobBytes: statSync(file).size, target: stage.target, expectedDiffId, limits: defaultUnpackLimits };
  await stage.commit(await unpackLayer(job, { signal }));
}

for (const [lower, upper] of [
  ["erofs", "erofs"],
  ["erofs", "directory"],
  ["directory", "erofs"],
] as const) {
  test(`an ${upper} layer above an ${lower} one: one tree, mounts only while used, found again after a restart`, async () => {
    const path = join(root, `${lower}-${upper}`);
    const mounts = (): string[] => (existsSync(`${path}-mounts`) ? readdirSync(`${path}-mounts`) : []);
    const snapshotter = await openAt(path, "erofs");
    await pulled(snapshotter, "base", [], "mkdir tmp gone; chmod 1777 tmp; chown 5:6 tmp; echo a > gone/a; echo low > file", lower);
    await pulled(snapshotter, "top", ["base"], "mkdir -p tmp/sub; echo high > tmp/sub/file; mkdir gone; touch gone/.wh.a", upper);
    // A tar that holds tmp/sub/file alone only implies tmp.
    await pulled(
      snapshotter,
      "implied",
      ["base", "top"],
      "mkdir tmp; echo x > tmp/x; cd tmp; tar -cf ../t x; cd ..; rm -r tmp; mkdir -p tmp; echo x > tmp/x",
      upper,
    );
    const chains = ["base", "top", "implied"].map(chain);
    const first = await snapshotter.prepare("one", chains);
    const second = await snapshotter.prepare("two", chains);
    assert.equal(mounts().length, [lower, upper, upper].filter((form) => form === "erofs").length);
    for (const made of [first, second]) {
      mounted(made, (at) => {
        assert.deepEqual(readdirSync(join(at, "gone")), []);
        assert.equal(readFileSync(join(at, "tmp/sub/file"), "utf8"), "high\n");
        assert.equal(readFileSync(join(at, "file"), "utf8"), "low\n");
        writeFileSync(join(at, "file"), "changed");
        assert.equal(readFileSync(join(at, "file"), "utf8"), "changed");
      });
    }
    const again = await openAt(path, "erofs");
    const before = mounts();
    await again.remove("one");
    assert.deepEqual(mounts(), before, "the other container still uses them");
    await again.remove("two");
    assert.deepEqual(mounts(), []);
    for (const id of again.layers()) await again.removeLayer(id);
    assert.deepEqual(readdirSync(join(path, "layers")), []);
  });
}

test("an implied directory of an EROFS layer takes what the layer below says", async () => {
  const path = join(root, "implied");
  const snapshotter = await openAt(path, "erofs");
  await pulled(snapshotter, "below", [], "mkdir -p a/b; chmod 700 a/b; chown 9:8 a/b; touch -d 2001-01-01T00:00:00.5Z a/b");
  const stage = await snapshotter.beginLayer(chain("above"), [chain("below")]);
  const file = join(root, "only-file.tar");
  execFileSync("bash", ["-euc", `mkdir -p ${root}/w/a/b; echo x > ${root}/w/a/b/x; tar -C ${root}/w -cf ${file} a/b/x`]);
  const expectedDiffId = `sha256:${createHash("sha256").update(readFileSync(file)).digest("hex")}`;
  const job = { file, blobBytes: statSync(file).size, target: stage.target, expectedDiffId, limits: defaultUnpackLimits };
  await stage.commit(await unpackLayer(job, { signal }));
  mounted(await snapshotter.prepare("k", [chain("below"), chain("above")], { readonly: true }), (at) => {
    const stat = lstatSync(join(at, "a/b"));
    assert.deepEqual([stat.mode & 0o7777, stat.uid, stat.gid, stat.mtimeMs], [0o700, 9, 8, Date.parse("2001-01-01T00:00:00.500Z")]);
  });
  await snapshotter.remove("k");
});

test("directory names of layers", () => {
  assert.equal(layerDirectory(`sha256:${"0".repeat(64)}`), "a".repeat(26));
  assert.equal(layerDirectory(`sha256:${"f".repeat(64)}`), "7".repeat(26));
  assert.throws(() => layerDirectory("sha256:../../x"), /not a chain id/);
});

test("an image of more layers than a mount call has options for: mounted by us, found again after a restart, gone with its user", async () => {
  const path = join(root, "many");
  const first = await openAt(path);
  const names = Array.from({ length: 300 }, (_, n) => `many ${n}`);
  for (const [index, name] of names.entries())
    await layer(first, name, names.slice(0, index), (at) => {
      writeFileSync(join(at, `file${index}`), name);
      writeFileSync(join(at, "who"), name);
    });
  const chainIds = names.map(chain);
  const look = (mounts: RootfsMount[]): void =>
    mounted(mounts, (at) => {
      assert.equal(readFileSync(join(at, "who"), "utf8"), "many 299");
      for (const index of [0, 150, 299]) assert.equal(readFileSync(join(at, `file${index}`), "utf8"), `many ${index}`);
    });
  const few = await first.prepare("few", chainIds.slice(0, 100));
  assert.equal(few[0]?.type, "overlay");
  const made = await first.prepare("container", chainIds);
  assert.deepEqual(made, [{ type: "bind", source: join(`${path}-mounts`, "idmapped/container"), target: "", options: ["rbind", "rw"] }]);
  look(made);
  writeFileSync(join(made[0]?.source ?? "", "written"), "x");
  assert.equal(readFileSync(join(path, "rootfs/container/fs/written"), "utf8"), "x");
  look(await first.prepare("volume", chainIds, { readonly: true }));
  const again = await openAt(path);
  assert.deepEqual(await again.prepare("container", chainIds), made);
  assert.equal(readFileSync(join(made[0]?.source ?? "", "written"), "utf8"), "x");
  for (const key of ["few", "container", "volume"]) await again.remove(key);
  assert.deepEqual(
    (await readMountinfo()).filter(({ mountPoint }) => mountPoint.startsWith(`${path}-mounts/`)),
    [],
  );
  assert.deepEqual(readdirSync(join(path, "rootfs")), []);
});
