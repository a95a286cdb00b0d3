import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isErrno, isKind } from "../base/errors.ts";
import { spawnProcess } from "./spawn.ts";

const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
const sh = (script: string, more: object = {}) => spawnProcess({ file: "/bin/sh", args: ["-c", script], env, ...more });
const openFds = (): number => readdirSync("/proc/self/fd").length;

test("answers status and both outputs", async () => {
  const got = await sh("echo out; echo err >&2; exit 7");
  assert.deepEqual([got.status, got.signal, got.stdout.toString(), got.stderr.toString()], [7, null, "out\n", "err\n"]);
});

test("feeds stdin, also beyond the pipe's size, and stands a child that does not read it", async () => {
  const big = Buffer.alloc(1_000_000, "x");
  assert.equal((await sh("wc -c", { stdin: big })).stdout.toString().trim(), "1000000");
  assert.equal((await sh("exit 0", { stdin: big })).status, 0);
  assert.equal((await sh("cat", { stdin: Buffer.from("hi") })).stdout.toString(), "hi");
  assert.equal((await sh("cat", { stdin: "null" })).stdout.length, 0);
});

test("reports a signal by name, also a real-time one", async () => {
  assert.equal((await sh("kill -9 $$")).signal, "SIGKILL");
  assert.equal((await sh("kill -37 $$")).signal, "SIGRTMIN+3");
});

test("the child has default signals, an empty mask, no descriptor but its own, its cwd and only the given environment", async () => {
  const dir = mkdtempSync(join(tmpdir(), "crid-spawn-"));
  const leak = openSync("/dev/null", "r");
  try {
    const got = await sh(
      "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | wc -l; pwd; env | grep -vc -E '^(PATH|PWD|_|OLDPWD|SHLVL)='",
      {
        cwd: dir,
      },
    );
    const lines = got.stdout.toString().trim().split("\n");
    // 32 and 33 belong to glibc, which ignores them in a spawned child.
    assert.match(lines.slice(0, 2).join(" "), /^SigBlk:\t0{16} SigIgn:\t0{7}[01][08]0{7}$/);
    // ls itself has one for the directory
    assert.equal(lines[2], "4");
    assert.deepEqual(lines.slice(3), [dir, "0"]);
  } finally {
    closeSync(leak);
    rmSync(dir, { recursive: true });
  }
});

test("passes extra descriptors as 3, 4 even when their own numbers overlap", async () => {
  const files = ["/proc/sys/kernel/ostype", "/proc/sys/kernel/hostname"].map((path) => openSync(path, "r"));
  try {
    const got = await sh("cat <&4; cat <&3", { extraFds: files });
    assert.equal(
      got.stdout.toString(),
      readFileSync("/proc/sys/kernel/hostname", "utf8") + readFileSync("/proc/sys/kernel/ostype", "utf8"),
    );
  } finally {
    files.forEach(closeSync);
  }
});

test("a missing program, a missing directory and a NUL in an argument are errors with a code", async () => {
  await assert.rejects(spawnProcess({ file: "/nonexistent/x", args: [], env }), (error) => isErrno(error, "ENOENT"));
  await assert.rejects(sh("true", { cwd: "/nonexistent" }), (error) => isErrno(error, "ENOENT"));
  await assert.rejects(sh("a\0b"), (error) => isErrno(error, "EINVAL"));
});

test("a timeout kills the whole group and is deadline-exceeded; an abort rejects with its reason", async () => {
  const began = performance.now();
  await assert.rejects(sh("sleep 30 & sleep 30", { pgroup: true, timeoutMs: 50 }), (error) => isKind(error, "deadline-exceeded"));
  const reason = new Error("enough");
  const controller = new AbortController();
  setTimeout(() => controller.abort(reason), 30);
  await assert.rejects(sh("sleep 30", { signal: controller.signal }), reason);
  await assert.rejects(sh("true", { signal: AbortSignal.abort(reason) }), reason);
  assert.ok(performance.now() - began < 2_000);
});

test("a daemonised grandchild that keeps the pipes does not hang it", async () => {
  const began = performance.now();
  const got = await sh("sleep 5 & echo $!");
  assert.ok(performance.now() - began < 1_000);
  process.kill(Number(got.stdout.toString()), "SIGKILL");
});

test("output beyond the limit is dropped without stopping the child", async () => {
  const got = await sh("head -c 3000000 /dev/zero; echo done >&2", { maxOutput: 1000 });
  assert.deepEqual([got.status, got.stdout.length, got.truncated, got.stderr.toString()], [0, 1000, true, "done\n"]);
});

test("leaves no descriptor and no zombie, many at a time", async () => {
  await sh("true");
  const before = openFds();
  for (let round = 0; round < 5; round++) {
    const all = await Promise.all(Array.from({ length: 12 }, (_, i) => sh(`echo ${i}; exit ${i}`)));
    for (const [i, got] of all.entries()) assert.deepEqual([got.status, got.stdout.toString()], [i, `${i}\n`]);
  }
  await sleep(20);
  assert.ok(openFds() <= before + 1, `${openFds()} descriptors, before ${before}`);
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").trim();
  assert.equal(children, "");
});
