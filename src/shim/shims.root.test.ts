import assert from "node:assert/strict";
import { closeSync, constants, existsSync, readFileSync, readSync, writeSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { CridError } from "../base/errors.ts";
import { mkfifo, openFd } from "../linux/files.ts";
import { kill, processState } from "../linux/process.ts";
import { execProcess, shimBed, shimBinaries } from "./test-shim.ts";

const limit = (ms = 20_000): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(ms) });

async function until(what: string, ready: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await ready()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  assert.fail(`not after 5 s: ${what}`);
}

for (const { version, path: binary, skip } of shimBinaries) {
  describe(`shim ${version}`, { skip }, () => {
    test("a pod's life: pause, a second task, exec, signals, exits, events", async (t) => {
      await using bed = await shimBed();
      const pod = await bed.bundle({});
      const times: string[] = [];
      let at = performance.now();
      const lap = (name: string): void => {
        times.push(`${name} ${(performance.now() - at).toFixed(1)}`);
        at = performance.now();
      };

      const shim = await bed.shims.start({ ...pod, binary, runtimeOptions: bed.options }, limit());
      lap("shim start");
      assert.equal(shim.address.version, version === "2.4" ? 3 : 2);
      assert.equal(shim.address.address.startsWith(`unix://${version === "2.4" ? join(bed.dir, "s") : "/run/containerd/s"}/`), true);
      assert.ok(shim.pid > 0);
      const { pid } = await shim.create(bed.task(pod), limit());
      lap("create");
      assert.equal((await shim.state(pod.id, limit())).status, "created");
      at = performance.now();
      await shim.start(pod.id, limit());
      lap("start");
      const pauseExit = shim.wait(pod.id);
      assert.deepEqual(await shim.connectInfo(pod.id), { shimPid: shim.pid, taskPid: pid });

      // The second task of the pod goes to the same shim, without a start of the binary.
      const stdout = join(bed.dir, "out");
      mkfifo(stdout);
      const reader = openFd(stdout, constants.O_RDWR | constants.O_NONBLOCK);
      const app = await bed.bundle({ sandbox: pod.id, args: ["sh", "-c", "echo hello; trap 'exit 7' TERM; while :; do sleep 0.1; done"] });
      at = performance.now();
      const created = await shim.create(bed.task(app, { stdout, stderr: stdout }), limit());
      lap("create 2nd");
      await shim.start(app.id, limit());
      lap("start 2nd");
      await until("the container's words", () => readReady(reader));
      closeSync(reader);
      const state = await shim.state(app.id, limit());
      assert.deepEqual([state.status, state.pid, state.bundle, state.stdout], ["running", created.pid, app.bundle, stdout]);
      assert.ok((await shim.pids(app.id)).includes(created.pid));

      at = performance.now();
      await shim.exec(
        app.id,
        { execId: "e1", terminal: false, stdin: "", stdout: "", stderr: "", process: execProcess("sh", "-c", "exit 3") },
        limit(),
      );
      const execStarted = await shim.start(app.id, { execId: "e1", ...limit() });
      const execExit = await shim.wait(app.id, { execId: "e1", ...limit() });
      lap("exec");
      assert.ok(execStarted.pid > 0);
      assert.equal(execExit.exitStatus, 3);
      assert.ok(execExit.exitedAt > BigInt(Date.now() - 60_000) * 1_000_000n);
      await shim.delete(app.id, { execId: "e1", ...limit() });

      await assert.rejects(shim.delete(app.id, limit()), CridError);
      const appExit = shim.wait(app.id);
      await shim.kill(app.id, { signal: 15, all: false }, limit());
      assert.equal((await appExit).exitStatus, 7);
      await assert.rejects(shim.kill(app.id, { signal: 9, all: false }, limit()), { kind: "not-found" });
      at = performance.now();
      assert.deepEqual((await shim.delete(app.id, limit())).exitStatus, 7);
      lap("delete");
      await assert.rejects(shim.state(app.id, limit()), { kind: "not-found" });

      // Shutdown does nothing while a task is left.
      await shim.shutdown(pod.id, limit());
      await shim.kill(pod.id, { signal: 9, all: false }, limit());
      assert.equal((await pauseExit).exitStatus, 137);
      // A 2.4 shim answers Wait first, then sends the event, and loses it when it is shut down in between.
      await until("the pod's exit event", () => bed.events.some(({ topic, containerId }) => topic === "exit" && containerId === pod.id));
      await shim.delete(pod.id, limit());
      at = performance.now();
      await shim.shutdown(pod.id, limit());
      await shim.closed;
      lap("shutdown");
      await assert.rejects(shim.state(pod.id, limit()), { kind: "unavailable" });
      const seen = bed.events.map(
        (event) => `${event.topic} ${event.containerId === pod.id ? "pod" : "app"}${"execId" in event ? ` ${event.execId}` : ""}`,
      );
      for (const want of [
        "create pod",
        "start pod",
        "create app",
        "start app",
        "exec-added app e1",
        "exec-started app e1",
        "exit app e1",
        "exit app ",
        "delete app ",
        "exit pod ",
      ]) {
        assert.ok(seen.includes(want), `${want} in ${seen.join(", ")}`);
      }
      const exit = bed.events.find((event) => event.topic === "exit" && event.containerId === app.id && event.execId === "");
      assert.ok(exit?.topic === "exit" && exit.exitStatus === 7 && exit.pid === created.pid);

      await until("nothing is left", async () => (await bed.leftovers()).length === 0);
      t.diagnostic(`${version}: ms: ${times.join(", ")}`);
    });

    test("a root file system of mounts, stdin, a terminal, limits, freezing; a dead shim's mounts are removed", async () => {
      await using bed = await shimBed();
      const pod = await bed.bundle({ args: ["sh", "-c", "cat > /file; sleep 100"] });
      const [lower, upper, work] = ["lower", "upper", "work"].map((name) => join(bed.dir, name));
      for (const dir of [lower, upper, work]) await mkdir(dir ?? "");
      const rootfs = [
        { type: "overlay", source: "overlay", target: "", options: [`lowerdir=${lower}`, `upperdir=${upper}`, `workdir=${work}`] },
      ];
      const stdin = join(bed.dir, "in");
      mkfifo(stdin);
      const shim = await bed.shims.start({ ...pod, binary, runtimeOptions: bed.options }, limit());
      const writer = openFd(stdin, constants.O_RDWR | constants.O_NONBLOCK);
      await shim.create(bed.task(pod, { stdin, rootfs }), limit());
      await shim.start(pod.id, limit());
      writeSync(writer, "words");
      closeSync(writer);
      await shim.closeIO(pod.id, {}, limit());
      const file = join(upper ?? "", "file");
      await until("the file is written", () => existsSync(file) && readFileSync(file, "utf8") === "words");

      await shim.pause(pod.id, limit());
      assert.equal((await shim.state(pod.id, limit())).status, "paused");
      await shim.resume(pod.id, limit());
      assert.equal((await shim.state(pod.id, limit())).status, "running");
      await shim.update(pod.id, { cpu: { shares: 512 }, memory: { limit: 64 << 20 } }, {}, limit());

      const out = join(bed.dir, "tty");
      mkfifo(out);
      const reader = openFd(out, constants.O_RDWR | constants.O_NONBLOCK);
      const process = {
        ...execProcess("sh", "-c", "while [ \"$(stty size)\" != '30 90' ]; do sleep 0.05; done; echo hello"),
        terminal: true,
      };
      await shim.exec(pod.id, { execId: "t", terminal: true, stdin: "", stdout: out, stderr: "", process }, limit());
      await shim.start(pod.id, { execId: "t", ...limit() });
      await shim.resizePty(pod.id, { execId: "t", width: 90, height: 30 }, limit());
      assert.equal((await shim.wait(pod.id, { execId: "t", ...limit() })).exitStatus, 0);
      await until("the words of the terminal", () => readReady(reader));
      closeSync(reader);

      assert.ok((await bed.leftovers()).some((left) => left.includes("overlay")));
      kill(shim.pid, 9);
      await shim.closed;
      await bed.shims.delete({ ...pod, binary }, limit());
      await until("nothing is left", async () => (await bed.leftovers()).length === 0);
    });

    test("delete of a bundle that no Create has reached is a success", async () => {
      await using bed = await shimBed();
      const pod = await bed.bundle({});
      assert.equal((await bed.shims.delete({ ...pod, binary }, limit())).exitStatus, 137);
      const shim = await bed.shims.start({ ...pod, binary, runtimeOptions: bed.options }, limit());
      kill(shim.pid, 9);
      await shim.closed;
      assert.equal((await bed.shims.delete({ ...pod, binary }, limit())).exitStatus, 137);
      await until("nothing is left", async () => (await bed.leftovers()).length === 0);
    });

    test("a killed shim: closed settles, connect is refused, delete cleans", async () => {
      await using bed = await shimBed();
      const pod = await bed.bundle({});
      const shim = await bed.shims.start({ ...pod, binary, runtimeOptions: bed.options }, limit());
      const { pid } = await shim.create(bed.task(pod), limit());
      await shim.start(pod.id, limit());
      const waiting = shim.wait(pod.id);
      process.kill(shim.pid, "SIGKILL");
      await assert.rejects(waiting, { kind: "unavailable" });
      await shim.closed;
      await assert.rejects(bed.shims.connect(pod.id, shim.address, limit()), { kind: "unavailable" });
      assert.equal(await bed.shims.find({ ...pod, binary }), undefined);
      assert.ok(existsSync(`/proc/${pid}`));
      const deleted = await bed.shims.delete({ ...pod, binary }, limit());
      assert.equal(deleted.exitStatus, 137);
      assert.equal(deleted.pid, pid);
      await until("the pause is gone", () => !existsSync(`/proc/${pid}`));
      assert.deepEqual(await bed.leftovers(), []);
      // Again: nothing is left to do, and that is no error.
      await bed.shims.delete({ ...pod, binary }, limit());
    });

    test("a restarted daemon finds the shim and its tasks", async () => {
      await using bed = await shimBed();
      const pod = await bed.bundle({});
      const before = await bed.shims.start({ ...pod, binary, runtimeOptions: bed.options }, limit());
      await before.create(bed.task(pod), limit());
      await before.start(pod.id, limit());
      before.close();
      await before.closed;

      const shims = bed.restarted();
      const found = await shims.find({ ...pod, binary });
      assert.equal(found?.pid, before.pid);
      assert.equal(found?.address.version, before.address.version);
      found?.close();
      assert.deepEqual(await shims.list(), [{ pid: before.pid, id: pod.id, bundle: pod.bundle, action: undefined }]);

      const again = await shims.start({ ...pod, binary, runtimeOptions: bed.options }, limit());
      assert.equal(again.pid, before.pid);
      again.close();

      const shim = await shims.connect(pod.id, before.address, { bundle: pod.bundle, ...limit() });
      assert.equal((await shim.state(pod.id, limit())).status, "running");
      await shim.kill(pod.id, { signal: 9, all: true }, limit());
      assert.equal((await shim.wait(pod.id)).exitStatus, 137);
      // Whoever asks after the end gets the same answer.
      assert.equal((await shim.wait(pod.id)).exitStatus, 137);
      await shim.delete(pod.id, limit());
      await shim.shutdown(pod.id, limit());
      await shim.closed;
      await until("nothing is left", async () => (await bed.leftovers()).length === 0);
    });

    test("a start that fails leaves the shim of before alone", async () => {
      await using bed = await shimBed();
      const pod = await bed.bundle({});
      const before = await bed.shims.start({ ...pod, binary, runtimeOptions: bed.options }, limit());
      await new Promise((resolve) => setTimeout(resolve, 20));
      await assert.rejects(bed.shims.start({ ...pod, binary, runtimeOptions: bed.options }, limit(2)));
      assert.equal((await before.connectInfo(pod.id)).shimPid, before.pid);
      await before.shutdown(pod.id, limit());
      await before.closed;
    });

    test("what cannot be run is said in runc's words, and nothing is left", async () => {
      await using bed = await shimBed();
      const pod = await bed.bundle({ args: ["/no/such/program"] });
      const shim = await bed.shims.start({ ...pod, binary, runtimeOptions: bed.options }, limit());
      await assert.rejects(shim.create(bed.task(pod), limit()), (error) => {
        assert.ok(error instanceof CridError);
        assert.match(error.message, /^create task [0-9a-f]{12}: runc create failed: .*\/no\/such\/program.*no such file or directory$/);
        return true;
      });
      await shim.shutdown(pod.id, limit());
      await shim.closed;
      await until("nothing is left", async () => (await bed.leftovers()).length === 0);
    });
  });
}

/** Whether "hello" is in the fifo; an empty one gives EAGAIN. */
function readReady(fd: number): boolean {
  const bytes = Buffer.alloc(100);
  try {
    return bytes.toString("latin1", 0, readSync(fd, bytes)).includes("hello");
  } catch {
    return false;
  }
}

test("a shim that hangs costs the time limit, and a start that is aborted leaves no shim", async () => {
  await using bed = await shimBed();
  const { path: binary } = shimBinaries[0] ?? { path: "" };
  const pod = await bed.bundle({});
  const shim = await bed.shims.start({ ...pod, binary, runtimeOptions: bed.options }, limit());
  process.kill(shim.pid, "SIGSTOP");
  await until("it stands still", () => processState(shim.pid) === "T");
  await assert.rejects(bed.shims.connect(pod.id, shim.address, { timeoutMs: 100 }), { kind: "deadline-exceeded", message: /100 ms/ });
  process.kill(shim.pid, "SIGCONT");
  await shim.shutdown(pod.id, limit());
  await shim.closed;

  for (const ms of [1, 4, 8, 12, 16]) {
    const other = await bed.bundle({});
    const outcome = await bed.shims.start({ ...other, binary, runtimeOptions: bed.options }, limit(ms)).then(
      async (started) => started.shutdown(other.id, limit()).then(() => started.closed),
      (error: unknown) => assert.ok(error instanceof CridError && error.kind === "deadline-exceeded", String(error)),
    );
    assert.equal(outcome, undefined);
  }
  assert.deepEqual(await bed.leftovers(), []);
});

test("a missing binary, bundle and config are named", async () => {
  await using bed = await shimBed();
  const pod = await bed.bundle({});
  await assert.rejects(bed.shims.start({ ...pod, binary: "/no/shim", runtimeOptions: bed.options }, limit()), {
    kind: "failed-precondition",
    message: /\/no\/shim cannot be started .*runtime\.handlers/,
  });
  const { path: binary } = shimBinaries[0] ?? { path: "" };
  await assert.rejects(bed.shims.start({ ...pod, bundle: join(bed.dir, "none"), binary, runtimeOptions: bed.options }, limit()), {
    kind: "not-found",
  });
  await assert.rejects(bed.shims.delete({ id: "none", bundle: join(bed.dir, "none"), binary }, limit()), { kind: "not-found" });
  await rm(join(pod.bundle, "config.json"));
  await assert.rejects(bed.shims.start({ ...pod, binary, runtimeOptions: bed.options }, limit()), {
    message: /config\.json: no such file/,
  });
  assert.deepEqual(await bed.leftovers(), []);
});

test("deletes after many dead shims run a few at a time, and one whose caller gave up is not waited for", async () => {
  await using bed = await shimBed();
  const running = join(bed.dir, "running");
  const binary = join(bed.dir, "counting-shim");
  await mkdir(running);
  // Stands for the shim's binary: notes how many of it run beside itself.
  await writeFile(binary, `#!/bin/sh\n: > ${running}/$$\nls ${running} | wc -l >> ${bed.dir}/counts\nsleep 0.1\nrm ${running}/$$\n`, {
    mode: 0o755,
  });
  const pods = await Promise.all(Array.from({ length: 20 }, () => bed.bundle({})));
  const deleting = Promise.all(pods.map((pod) => bed.shims.delete({ ...pod, binary }, limit())));
  const [first] = pods;
  assert.ok(first !== undefined);
  await assert.rejects(bed.shims.delete({ ...first, binary }, limit(50)), { kind: "deadline-exceeded" });
  await deleting;
  const counts = readFileSync(join(bed.dir, "counts"), "utf8").trim().split("\n").map(Number);
  assert.equal(counts.length, 20);
  assert.ok(Math.max(...counts) <= 4, counts.join());
  assert.ok(Math.max(...counts) >= 2, counts.join());
});
