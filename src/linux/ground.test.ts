import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { isErrno, isKind } from "../base/errors.ts";
import { closeFd, deviceNumber, dupFd, fcntlGetPipeSize, fcntlSetPipeSize, makeDev, pipe } from "./files.ts";
import { bootId, hasFilesystem, kernelAtLeast } from "./kernel.ts";
import { check, declare } from "./libc.ts";
import { parseMountinfo, readMountinfo } from "./mountinfo.ts";
import { capabilities, clampOomScoreAdj, kill, killExactly, oomScoreAdj, processStart } from "./process.ts";
import { sdNotify } from "./sdnotify.ts";
import { signalName, signalNumber } from "./signals.ts";
import { spawnProcess } from "./spawn.ts";

test("signals by name and number", () => {
  assert.deepEqual(
    ["SIGTERM", "kill", "15", "SIGRTMIN", "RTMIN+3", "SIGRTMAX-1", "sigrtmax", " USR1 "].map(signalNumber),
    [15, 9, 15, 34, 37, 63, 64, 10],
  );
  for (const bad of ["", "SIGNOPE", "0", "65", "-9", "SIGRTMIN+31", "SIGRTMIN-1", "RTMAX+1", "SIG"]) {
    assert.throws(
      () => signalNumber(bad),
      (error) => isKind(error, "invalid-argument"),
      bad,
    );
  }
  for (let number = 1; number <= 64; number++) {
    if (number !== 32 && number !== 33) assert.equal(signalNumber(signalName(number)), number);
  }
});

test("mountinfo: the kernel's own, and escapes", async () => {
  const all = await readMountinfo();
  assert.ok(all.some((entry) => entry.mountPoint === "/proc" && entry.fsType === "proc"));
  const [entry] = parseMountinfo(
    "36 35 98:0 /mnt1 /mnt\\0402\\134x rw,noatime master:1 shared:2 - ext3 /dev/ro\\011ot rw,errors=continue\n",
  );
  assert.deepEqual(entry, {
    id: 36,
    parentId: 35,
    device: "98:0",
    root: "/mnt1",
    mountPoint: "/mnt 2\\x",
    options: ["rw", "noatime"],
    optional: ["master:1", "shared:2"],
    fsType: "ext3",
    source: "/dev/ro\tot",
    superOptions: ["rw", "errors=continue"],
  });
  assert.throws(() => parseMountinfo("nonsense\n"), /mountinfo/);
});

test("device numbers are glibc's", () => {
  assert.equal(makeDev(0, 0), 0n);
  assert.equal(makeDev(1, 3), 0x103n);
  assert.equal(makeDev(0x12345678, 0x9abcdef0), 0x1234_59ab_cde6_78f0n);
  fc.assert(fc.property(fc.nat(), fc.nat(), (major, minor) => deviceNumber(makeDev(major, minor)) === `${major}:${minor}`));
  fc.assert(
    fc.property(fc.nat(0xfff), fc.nat(0xff), (major, minor) => makeDev(major, minor) === BigInt(major * 256 + minor)),
    { numRuns: 50 },
  );
});

test("pipes: sizes, duplicates, and an errno with a name", () => {
  const { read, write } = pipe();
  const copy = dupFd(read, 100);
  try {
    assert.ok(copy >= 100);
    assert.equal(fcntlSetPipeSize(read, 8192), 8192);
    assert.equal(fcntlGetPipeSize(write), 8192);
  } finally {
    for (const fd of [read, write, copy]) closeFd(fd);
  }
  assert.throws(
    () => fcntlGetPipeSize(copy),
    (error) => isErrno(error, "EBADF"),
  );
});

test("processes: start times name one process", async () => {
  const start = processStart(process.pid);
  assert.match(start ?? "", /^\d+$/);
  assert.equal(processStart(2 ** 22 - 1), undefined);
  assert.equal(killExactly(process.pid, "1", 0), false);
  assert.equal(killExactly(process.pid, start ?? "", 0), true);
  const done = await spawnProcess({ file: "/bin/true", args: [], env: {} });
  assert.equal(kill(done.pid, 0), false);
  assert.equal(killExactly(done.pid, "1", 9), false);
});

test("capabilities and the oom score follow what the process has", () => {
  const { bounding, effective } = capabilities();
  const bits = BigInt(`0x${/CapBnd:\s*(\w+)/.exec(readFileSync("/proc/self/status", "latin1"))?.[1]}`);
  assert.equal(bounding.includes("CAP_CHOWN"), (bits & 1n) === 1n);
  assert.ok(clampOomScoreAdj(-999) >= (effective.includes("CAP_SYS_RESOURCE") ? -999 : oomScoreAdj()));
  assert.equal(clampOomScoreAdj(2000), 1000);
});

test("kernel facts", () => {
  assert.match(bootId(), /^[0-9a-f-]{36}$/);
  assert.ok(kernelAtLeast(5, 4));
  assert.ok(!kernelAtLeast(5, 10, "5.9.1-x") && kernelAtLeast(5, 10, "5.10.0") && kernelAtLeast(5, 10, "6.1.0-18-amd64"));
  assert.ok(hasFilesystem("proc") && !hasFilesystem("nodev") && !hasFilesystem("nope"));
});

const cSocket = declare<(domain: number, type: number, protocol: number) => number>("int socket(int domain, int type, int protocol)");
const cBind = declare<(fd: number, address: Buffer, length: number) => number>("int bind(int fd, const void *address, uint32_t length)");
const cRecv = declare<(fd: number, data: Buffer, length: number, flags: number) => number>(
  "long recv(int fd, void *data, size_t length, int flags)",
);

test("sd_notify reaches a path and an abstract name; without a manager it does nothing", () => {
  assert.equal(sdNotify("READY=1", undefined), false);
  assert.equal(sdNotify("READY=1", "relative"), false);
  const dir = mkdtempSync(join(tmpdir(), "crid-notify-"));
  for (const name of [join(dir, "sock"), `@${dir}`]) {
    const address = Buffer.from(`\u0001\0${name.replace("@", "\0")}`);
    const fd = check(cSocket(1, 2 | 0o2004000, 0), "socket", name);
    check(cBind(fd, address, address.length), "bind", name);
    assert.equal(sdNotify("READY=1\nSTATUS=up", name), true);
    const data = Buffer.alloc(100);
    assert.equal(data.toString("utf8", 0, check(cRecv(fd, data, 100, 0), "recv", name)), "READY=1\nSTATUS=up");
    closeFd(fd);
    assert.throws(
      () => sdNotify("READY=1", name),
      (error) => isErrno(error, "ECONNREFUSED"),
    );
  }
  rmSync(dir, { recursive: true });
  assert.throws(() => sdNotify("READY=1", `/${"x".repeat(120)}`), /longer/);
});
