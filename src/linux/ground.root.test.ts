import assert from "node:assert/strict";
import {
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isErrno } from "../base/errors.ts";
import { linkAt, mkdirAt, mknodAt, openAt, openat2, openDir, openInRoot, renameAt, symlinkAt, unlinkAt, utimesAt } from "./at.ts";
import { closeFd, FS_MAGIC, flock, makeDev, mkfifo, mknod, openFd, S_IFCHR, statfs, syncfs, syncfsAsync } from "./files.ts";
import { detachAll, MS_BIND, MS_NODEV, mount, umount } from "./mount.ts";
import { hasMountSetattr, MOUNT_ATTR_RDONLY, mountFs, mountSetattr, moveMount, openTree } from "./mount-api.ts";
import { readMountinfo } from "./mountinfo.ts";
import { enterNetnsSync, makeNetns, netnsIdentity } from "./namespaces.ts";
import { lgetxattr, llistxattr, lremovexattr, lsetxattr } from "./xattr.ts";

const base = mkdtempSync(join(tmpdir(), "crid-linux-"));
let counter = 0;
const fresh = (): string => {
  const dir = join(base, String(counter++));
  mkdirSync(dir);
  return dir;
};
const mountsBelow = async (): Promise<string[]> =>
  (await readMountinfo()).map((entry) => entry.mountPoint).filter((at) => at.startsWith(base));
const code = (name: string) => (error: unknown) => isErrno(error, name);

after(async () => {
  assert.deepEqual(await mountsBelow(), []);
  rmSync(base, { recursive: true });
});

test("mount, bind, statfs, unmount; errors name the path", async () => {
  const [dir, other] = [fresh(), fresh()];
  mount("tmpfs", dir, "tmpfs", MS_NODEV, "size=1m,mode=700");
  assert.equal(statfs(dir).type, FS_MAGIC.tmpfs);
  assert.equal(statfs(dir).totalBytes, 1 << 20);
  mount(dir, other, "", MS_BIND);
  assert.deepEqual(await mountsBelow(), [dir, other]);
  assert.throws(() => mount("x", "/nonexistent/a", "tmpfs", 0), /mount \/nonexistent\/a .*ENOENT/);
  assert.throws(() => mount("x", dir, "tmpfs", 0, `a=${"b".repeat(4096)}`), code("EINVAL"));
  assert.throws(() => mount("x", "/tmp\0/etc", "tmpfs", 0), code("EINVAL"));
  umount(other);
  mount("tmpfs", dir, "tmpfs", 0);
  detachAll(dir);
  detachAll(dir);
  detachAll(join(dir, "missing"));
});

test("detached copies, attributes, and fsopen with the kernel's own words", async () => {
  const [dir, copy] = [fresh(), fresh()];
  mountFs({ type: "tmpfs", source: "none", target: dir, options: [["size", "1m"]] });
  writeFileSync(join(dir, "a"), "1");
  assert.ok(hasMountSetattr());
  const fd = openTree(dir, { recursive: true });
  mountSetattr(fd, { set: MOUNT_ATTR_RDONLY, recursive: true });
  moveMount(fd, copy);
  closeFd(fd);
  assert.throws(() => writeFileSync(join(copy, "a"), "2"), code("EROFS"));
  detachAll(copy);
  detachAll(dir);
  const options = [["lowerdir", "/nonexistent/lower"]] as const;
  assert.throws(() => mountFs({ type: "overlay", source: "overlay", target: dir, options }), /overlay/);
  assert.throws(() => mountFs({ type: "nosuchfs", source: "x", target: dir, options: [] }), code("ENODEV"));
});

test("fifos, devices, locks, sync", async () => {
  const dir = fresh();
  mkfifo(join(dir, "fifo"));
  const fifo = openFd(join(dir, "fifo"), constants.O_RDWR | constants.O_NONBLOCK);
  writeSync(fifo, "abc");
  const got = Buffer.alloc(10);
  assert.equal(readSync(fifo, got), 3);
  assert.throws(() => readSync(fifo, got), code("EAGAIN"));
  mknod(join(dir, "whiteout"), S_IFCHR | 0o600);
  assert.equal(lstatSync(join(dir, "whiteout")).rdev, 0);
  mknod(join(dir, "null"), S_IFCHR | 0o666, makeDev(1, 3));
  assert.equal(lstatSync(join(dir, "null")).rdev, 0x103);
  const [one, two] = [1, 2].map(() => openFd(join(dir, "lock"), constants.O_RDWR | constants.O_CREAT));
  assert.ok(one !== undefined && two !== undefined);
  assert.deepEqual(
    [flock(one, "ex"), flock(two, "ex"), flock(two, "sh"), flock(one, "un"), flock(two, "ex")],
    [true, false, false, true, true],
  );
  syncfs(one);
  await syncfsAsync(one);
  for (const fd of [fifo, one, two]) closeFd(fd);
});

test("xattrs are bytes, of the link itself", () => {
  const dir = fresh();
  const file = join(dir, "f");
  writeFileSync(file, "");
  const value = Buffer.from([1, 0, 0, 2, 0xc2, 0x80, 0xff, 0]);
  lsetxattr(file, "trusted.crid", value);
  lsetxattr(Buffer.from(file), "user.empty", Buffer.alloc(0));
  assert.deepEqual(lgetxattr(file, "trusted.crid"), value);
  assert.deepEqual(lgetxattr(file, "user.empty"), Buffer.alloc(0));
  assert.deepEqual(new Set(llistxattr(file)), new Set(["trusted.crid", "user.empty"]));
  symlinkSync("f", join(dir, "link"));
  assert.equal(lgetxattr(join(dir, "link"), "trusted.crid"), undefined);
  lremovexattr(file, "trusted.crid");
  assert.equal(lgetxattr(file, "trusted.crid"), undefined);
  assert.throws(() => lgetxattr(join(dir, "missing"), "user.x"), code("ENOENT"));
});

test("lookups in a root stay in it", () => {
  const [root, outside] = [fresh(), fresh()];
  writeFileSync(join(outside, "secret"), "host");
  mkdirSync(join(root, "etc"));
  writeFileSync(join(root, "etc/passwd"), "inside");
  symlinkSync("/etc/passwd", join(root, "abs"));
  symlinkSync("../../../../../etc/passwd", join(root, "etc/up"));
  symlinkSync(`../../${outside}/secret`, join(root, "out"));
  symlinkSync("/proc/self/root/etc/passwd", join(root, "magic"));
  const read = (path: string): string => {
    const fd = openInRoot(root, path, constants.O_RDONLY);
    const text = readFileSync(fd, "utf8");
    closeFd(fd);
    return text;
  };
  for (const path of ["etc/passwd", "/etc/passwd", "../../etc/passwd", "abs", "etc/up"]) assert.equal(read(path), "inside", path);
  assert.throws(() => read("out"), code("ENOENT"));
  assert.throws(() => read("magic"), code("ENOENT"));
  const dir = openDir(root);
  assert.throws(() => openat2(dir, "abs", constants.O_RDONLY, { resolve: "beneath" }), code("EXDEV"));
  assert.throws(() => openat2(dir, "abs", constants.O_RDONLY, { resolve: "beneath-no-symlinks" }), code("ELOOP"));
  closeFd(dir);
});

test("a tree written through descriptors, names of any bytes", () => {
  const dir = openDir(fresh());
  mkdirAt(dir, "d", 0o750);
  closeFd(openAt(dir, "d/f", constants.O_CREAT | constants.O_WRONLY | constants.O_EXCL, 0o640));
  linkAt(dir, "d/f", dir, "hard");
  symlinkAt("d/f", dir, "soft");
  mknodAt(dir, Buffer.from([0xff, 0x41]), S_IFCHR);
  renameAt(dir, Buffer.from([0xff, 0x41]), dir, "w");
  utimesAt(dir, "soft", { atime: -1n, mtime: 1_700_000_000_123_456_789n });
  const soft = lstatSync(`/proc/self/fd/${dir}/soft`, { bigint: true });
  assert.equal(soft.mtimeNs, 1_700_000_000_123_456_789n);
  assert.equal(soft.atimeNs, -1n);
  assert.equal(statSync(`/proc/self/fd/${dir}/hard`).nlink, 2);
  for (const name of ["w", "hard", "soft", "d/f"]) unlinkAt(dir, name);
  assert.throws(() => unlinkAt(dir, "d"), code("EISDIR"));
  unlinkAt(dir, "d", { directory: true });
  closeFd(dir);
});

test("a network namespace: made with lo up, entered and left", () => {
  const path = join(fresh(), "ns");
  const home = netnsIdentity();
  makeNetns(path);
  assert.equal(netnsIdentity(), home);
  const [identity, interfaces] = enterNetnsSync(path, () => [netnsIdentity(), networkInterfaces()]);
  assert.notEqual(identity, home);
  const fd = openFd(path, constants.O_RDONLY);
  assert.equal(identity, `net:[${fstatSync(fd).ino}]`);
  closeFd(fd);
  assert.deepEqual(Object.keys(interfaces), ["lo"]);
  assert.ok(interfaces.lo?.some((address) => address.address === "127.0.0.1"));
  assert.throws(
    () =>
      enterNetnsSync(path, () => {
        throw new Error("inside");
      }),
    /inside/,
  );
  assert.equal(netnsIdentity(), home);
  assert.throws(() => makeNetns(path), code("EEXIST"));
  assert.throws(() => enterNetnsSync("/dev/null", () => 0), code("EINVAL"));
  detachAll(path);
});
