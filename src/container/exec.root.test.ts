import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type ContainerBed, containerBed, limit, shimVersions } from "./test-bed.ts";

async function running(bed: ContainerBed, change: Parameters<ContainerBed["config"]>[0] = {}) {
  const daemon = await bed.start();
  const { containers } = daemon;
  const pod = await bed.pod();
  const id = await containers.create({ sandboxId: pod.id, config: bed.config({ command: ["sleep", "1000"], ...change }) }, limit());
  await containers.start(id, limit());
  const sh = (command: string, timeoutMs = 10_000) => containers.execSync(id, { cmd: ["sh", "-c", command], timeoutMs, ...limit() });
  const fds = (): number => readdirSync("/proc/self/fd").length;
  const fifos = (): string[] => readdirSync(join(bed.dir, "bundles", id, "io")).filter((name) => name.includes("-"));
  return { containers, id, pod, sh, fds, fifos };
}

for (const { version, path, skip } of shimVersions) {
  describe(`exec, shim ${version}`, { skip }, () => {
    test("ExecSync: output, codes, errors, time limit", async () => {
      await using bed = await containerBed(path);
      const { containers, id, sh, fifos, fds } = await running(bed);
      const before = fds();
      assert.deepEqual(await sh("exit 200"), { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0), exitCode: 200 });
      await assert.rejects(
        containers.execSync(id, { cmd: ["no-such-program"], timeoutMs: 0, ...limit() }),
        /^CridError: failed to exec in container: failed to start exec "[0-9a-f]{64}": .*OCI runtime exec failed: exec failed: .*"no-such-program": executable file not found in \$PATH$/,
      );
      const at = Date.now();
      await assert.rejects(sh("sleep 100", 300), { kind: "deadline-exceeded", message: /timeout 0\.3s exceeded/ });
      assert.ok(Date.now() - at < 5000);
      assert.equal((await sh("ps | grep -c '[s]leep 100$'")).stdout.toString().trim(), "0");
      await assert.rejects(containers.execSync(id, { cmd: [], timeoutMs: 0, ...limit() }), { kind: "invalid-argument" });
      assert.deepEqual(fifos(), []);
      await sleep(50);
      assert.ok(fds() <= before, `${fds()} descriptors, ${before} before`);
    });

    test("ExecSync: a background child does not hang it, and its output up to then is there", async () => {
      await using bed = await containerBed(path, { drainExecTimeoutMs: 400 });
      const { sh, fifos } = await running(bed);
      const at = Date.now();
      const { stdout, exitCode } = await sh("echo first; (sleep 50; echo late) &");
      assert.deepEqual([stdout.toString(), exitCode], ["first\n", 0]);
      assert.ok(Date.now() - at < 3000);
      assert.deepEqual(fifos(), []);
    });

    test("ExecSync: 16 MiB of each output, the rest dropped, the command goes on", async () => {
      await using bed = await containerBed(path);
      const { sh } = await running(bed);
      const { stdout, stderr, exitCode } = await sh("head -c 20000000 /dev/zero; head -c 17000000 /dev/zero >&2; exit 5", 60_000);
      assert.deepEqual([stdout.length, stderr.length, exitCode], [16 << 20, 16 << 20, 5]);
    });

    test("streams: stdin to its end, both outputs; a terminal; an abort kills", async () => {
      await using bed = await containerBed(path);
      const { containers, id, sh } = await running(bed);
      const input = Buffer.alloc(1 << 20, "0123456789abcdef");
      const [stdout, stderr] = [new PassThrough(), new PassThrough()];
      const [result, out, err] = await Promise.all([
        containers.exec(id, {
          cmd: ["sh", "-c", "cat; echo done >&2; exit 4"],
          tty: false,
          stdin: Readable.from([input]),
          stdout,
          stderr,
          ...limit(),
        }),
        buffer(stdout),
        text(stderr),
      ]);
      assert.equal(result.exitCode, 4);
      assert.ok(out.equals(input), `${out.length} of ${input.length} bytes`);
      assert.equal(err, "done\n");

      const tty = new PassThrough();
      const sizes = async function* () {
        yield { width: 123, height: 45 };
      };
      const typed = new PassThrough();
      const [screen] = await Promise.all([
        text(tty),
        containers.exec(id, { cmd: ["sh"], tty: true, stdin: typed, stdout: tty, resize: sizes(), ...limit() }),
        sleep(300).then(() => typed.write("stty size; echo $TERM; exit\n")),
      ]);
      assert.match(screen, /45 123\r\nxterm\r\n/);

      const abort = new AbortController();
      const waiting = containers.exec(id, { cmd: ["sleep", "77"], tty: false, signal: abort.signal });
      await sleep(200);
      abort.abort(new Error("client gone"));
      await assert.rejects(waiting, /client gone/);
      assert.equal((await sh("ps | grep -c '[s]leep 77'")).stdout.toString().trim(), "0");
    });

    test("attach: stdin reaches the process, several see the output, stdinOnce ends it", async () => {
      await using bed = await containerBed(path);
      const { containers, id } = await running(bed, {
        command: ["sh", "-c", "while read x; do echo got $x; done; echo end"],
        stdin: true,
        stdinOnce: true,
      });
      const typed = new PassThrough();
      const outs = [new PassThrough(), new PassThrough()];
      const attached = [
        containers.attach(id, { stdin: typed, ...(outs[0] && { stdout: outs[0] }), ...limit() }),
        containers.attach(id, { ...(outs[1] && { stdout: outs[1] }), ...limit() }),
      ];
      const texts = outs.map((out) => text(out));
      await sleep(200);
      typed.end("one\ntwo\n");
      await Promise.all(attached);
      assert.deepEqual(await Promise.all(texts), ["got one\ngot two\nend\n", "got one\ngot two\nend\n"]);
      while (containers.get(id).state !== "exited") await sleep(10);
      await assert.rejects(containers.attach(id, limit()), /CONTAINER_EXITED/);
    });

    test("attach: input that is there at once waits until the answer will be heard", async () => {
      await using bed = await containerBed(path);
      const { containers, id } = await running(bed, { command: ["sh", "-c", "read x; echo got $x"], stdin: true, stdinOnce: true });
      const out = new PassThrough();
      const heard = text(out);
      await containers.attach(id, { stdin: Readable.from([Buffer.from("one\n")]), stdout: out, ...limit() });
      assert.equal(await heard, "got one\n");
    });
  });
}

const [newest] = shimVersions;

test("many execs at once, some broken off: no descriptor, fifo or process is left", { skip: newest?.skip ?? "no shim" }, async () => {
  await using bed = await containerBed(newest?.path ?? "");
  const { containers, id, sh, fds, fifos } = await running(bed);
  await sh("true");
  const before = fds();
  const one = async (number: number): Promise<void> => {
    const abort = new AbortController();
    const stdout = new PassThrough();
    const stdin = new PassThrough();
    const words = text(stdout);
    if (number % 3 === 0) setTimeout(() => abort.abort(new Error("client gone")), number * 7);
    else stdin.end(`${number}\n`);
    const running = containers.exec(id, {
      cmd: ["sh", "-c", "read x; echo $x"],
      tty: number % 2 === 0,
      stdin,
      stdout,
      signal: abort.signal,
    });
    if (number % 3 === 0) await assert.rejects(running, /client gone|aborted/);
    else assert.equal((await running).exitCode, 0);
    if (number % 3 !== 0) assert.match(await words, new RegExp(`${number}`));
  };
  for (let round = 0; round < 3; round++) await Promise.all(Array.from({ length: 10 }, (_, index) => one(round * 10 + index + 1)));
  await sleep(200);
  assert.deepEqual(fifos(), []);
  assert.ok(fds() <= before + 1, `${fds()} descriptors, ${before} before`);
  assert.equal((await sh("ps | grep -c 'read [x]'")).stdout.toString().trim(), "0");
});
