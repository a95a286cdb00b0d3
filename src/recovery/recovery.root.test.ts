import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { detachAll } from "../linux/mount.ts";
import type { PodConfig } from "../records/pod-config.ts";
import { noContainers, type PodBed, type PodDaemon, podBed, skip } from "../sandbox/test-pods.ts";
import type { RecoveryDeps } from "./deps.ts";
import { type RecoveryReport, recover } from "./recover.ts";

const limit = (ms = 60_000): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(ms) });

function failpoints(prefix: string): string[] {
  const folder = join(import.meta.dirname, "../sandbox");
  const names = readdirSync(folder)
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
    .flatMap((file) => [...readFileSync(join(folder, file), "utf8").matchAll(/failpoint\("([^"]+)"/g)].map((match) => match[1] ?? ""));
  return names.filter((name) => name.startsWith(prefix)).sort();
}

/** Runs a daemon in a process of its own on the bed; `act` is code with `sandboxes` in scope. */
function inOtherProcess(bed: PodBed, act: string, failpoint = ""): { signal: string | null; stdout: string; stderr: string } {
  const module = JSON.stringify(new URL("../sandbox/test-pods.ts", import.meta.url).href);
  const code = `
    import { podBed } from ${module};
    const bed = await podBed(${JSON.stringify(bed.place)});
    const { sandboxes } = await bed.start();
    const o = { signal: AbortSignal.timeout(60_000) };
    ${act}
    process.kill(process.pid, "SIGKILL");`;
  const env = { ...process.env, CRID_FAILPOINTS: failpoint };
  const { signal, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", code], { env });
  return { signal, stdout: stdout.toString(), stderr: stderr.toString() };
}

const run = (config: PodConfig): string => `const id = await sandboxes.run({ config: ${JSON.stringify(config)}, runtimeHandler: "" }, o);`;

function deps(bed: PodBed, daemon: PodDaemon, change: Partial<RecoveryDeps> = {}): RecoveryDeps {
  return {
    ...daemon,
    containers: { recover: async () => {} },
    settings: bed.settings,
    containersDir: join(bed.dir, "containers"),
    runtimeStateDir: join(bed.settings.runtimeRoot, "k8s.io"),
    log: bed.log,
    ...change,
  };
}

async function restart(bed: PodBed, change: Partial<RecoveryDeps> = {}): Promise<PodDaemon & { report: RecoveryReport }> {
  const daemon = await bed.start();
  return { ...daemon, report: await recover(deps(bed, daemon, change), limit()) };
}

describe("a daemon that is killed and started again", { skip }, () => {
  for (const name of failpoints("sandbox.run.")) {
    test(`killed at ${name}: the pod is undone, the same call works`, async () => {
      await using bed = await podBed();
      const config = bed.config();
      const crashed = inOtherProcess(bed, run(config), `${name}=crash`);
      assert.equal(crashed.signal, "SIGKILL", crashed.stderr);
      const { sandboxes, report } = await restart(bed);
      assert.equal(report.pods.undone, 1);
      assert.deepEqual(sandboxes.list(), []);
      assert.deepEqual(await bed.leftovers(), []);
      const id = await sandboxes.run({ config, runtimeHandler: "" }, limit());
      await sandboxes.remove(id, limit());
      assert.deepEqual(await bed.leftovers(), []);
    });
  }

  for (const name of [...failpoints("sandbox.stop."), ...failpoints("sandbox.remove.")]) {
    test(`killed at ${name}: the same call works, nothing is left`, async () => {
      await using bed = await podBed();
      const call = name.startsWith("sandbox.stop.") ? "stop" : "remove";
      const crashed = inOtherProcess(bed, `${run(bed.config())} console.log(id); await sandboxes.${call}(id, o);`, `${name}=crash`);
      assert.equal(crashed.signal, "SIGKILL", crashed.stderr);
      const id = crashed.stdout.trim();
      assert.match(id, /^[0-9a-f]{64}$/, crashed.stderr);
      const { sandboxes } = await restart(bed);
      if (call === "stop") {
        assert.equal(sandboxes.status(id).state, "not-ready");
        await sandboxes.stop(id, limit());
        await sandboxes.remove(id, limit());
      } else {
        assert.deepEqual(sandboxes.list(), [], "recovery finishes a removal");
        await sandboxes.remove(id, limit());
      }
      assert.deepEqual(await bed.leftovers(), []);
    });
  }

  test("pods keep running, are watched again, and can be stopped", async () => {
    await using bed = await podBed();
    const crashed = inOtherProcess(bed, `${run(bed.config())} console.log(id);`);
    const id = crashed.stdout.trim();
    const { sandboxes, report } = await restart(bed);
    assert.deepEqual([report.pods.running, report.orphans], [1, []], crashed.stderr);
    const { pausePid } = sandboxes.get(id);
    assert.match(readFileSync(`/proc/${pausePid}/cmdline`, "utf8"), /pause|runc/);
    process.kill(pausePid, "SIGKILL");
    for (let i = 0; i < 200 && sandboxes.status(id).state === "ready"; i++) await sleep(25);
    assert.equal(sandboxes.status(id).state, "not-ready");
    await sandboxes.remove(id, limit());
    assert.deepEqual(await bed.leftovers(), []);
  });

  test("what ended while the daemon was away is not ready: a pause, a shim", async () => {
    await using bed = await podBed();
    const twice = `${run(bed.config())} console.log(id, sandboxes.get(id).pausePid);
      { ${run(bed.config())} console.log(id, sandboxes.get(id).connected.pid); }`;
    const [first, second] = inOtherProcess(bed, twice).stdout.trim().split("\n");
    const [pauseEnded, pausePid] = first?.split(" ") ?? [];
    const [shimDied, shimPid] = second?.split(" ") ?? [];
    assert.ok(pauseEnded !== undefined && shimDied !== undefined);
    process.kill(Number(pausePid), "SIGKILL");
    process.kill(Number(shimPid), "SIGKILL");
    await sleep(100);
    const { sandboxes, report } = await restart(bed);
    assert.equal(report.pods.ended, 2);
    for (const id of [pauseEnded, shimDied]) {
      assert.equal(sandboxes.status(id).state, "not-ready");
      await sandboxes.remove(id, limit());
    }
    assert.deepEqual(await bed.leftovers(), []);
  });

  test("a reboot: pods are not ready, their addresses are given back", async () => {
    await using bed = await podBed();
    const id = inOtherProcess(bed, `${run(bed.config())} console.log(id);`).stdout.trim();
    const first = await restart(bed, { bootId: "one" });
    for (const { pid } of await first.shims.list()) process.kill(pid, "SIGKILL");
    process.kill(first.sandboxes.get(id).pausePid, "SIGKILL");
    await first.close();
    await sleep(50);
    const state = join(bed.dir, "state");
    for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n").reverse()) {
      const point = line.split(" ")[4] ?? "";
      if (point.startsWith(`${state}/`)) detachAll(point);
    }
    rmSync(state, { recursive: true });

    const { sandboxes, report } = await restart(bed, { bootId: "two" });
    assert.deepEqual([report.rebooted, report.pods.ended], [true, 1]);
    assert.deepEqual([sandboxes.status(id).state, sandboxes.status(id).ips], ["not-ready", []]);
    assert.deepEqual(
      (await bed.leftovers()).filter((what) => what.startsWith("address")),
      [],
    );
    await sandboxes.remove(id, limit());
  });

  test("what no record names is swept, and only that", async () => {
    await using bed = await podBed();
    const crashed = inOtherProcess(bed, `${run(bed.config())} console.log(id); { ${run(bed.config())} console.log(id); }`);
    const [lost, kept] = crashed.stdout.trim().split("\n");
    assert.ok(lost !== undefined && kept !== undefined, crashed.stderr);
    const first = await bed.start();
    first.store.sandboxes.delete(lost);
    await first.close();
    mkdirSync(join(bed.dir, "containers/gone"), { recursive: true });
    writeFileSync(join(bed.dir, "containers/gone/file"), "");
    const { sandboxes, report, shims } = await restart(bed);
    assert.deepEqual(new Set(report.orphans.map(({ id }) => id)), new Set([lost, "gone"]));
    assert.deepEqual(
      (await shims.list()).map(({ id }) => id),
      [kept],
    );
    assert.equal(existsSync(join(bed.dir, "containers/gone")), false);
    assert.equal(sandboxes.status(kept).state, "ready");
    await sandboxes.remove(kept, limit());
    // Its address is the CNI GC's to free, which needs version 1.1.0 of the configuration.
    assert.deepEqual(
      (await bed.leftovers()).filter((what) => !what.startsWith("address")),
      [],
    );
  });

  test("a shim that hangs holds up its own pod only, for 5 s at most, and is not killed", async () => {
    await using bed = await podBed();
    const crashed = inOtherProcess(
      bed,
      `${run(bed.config())} console.log(id, sandboxes.get(id).connected.pid); { ${run(bed.config())} console.log(id); }`,
    );
    const [hung, shimPid] = crashed.stdout.trim().split("\n")[0]?.split(" ") ?? [];
    assert.ok(hung !== undefined, crashed.stderr);
    process.kill(Number(shimPid), "SIGSTOP");
    const daemon = await bed.start();
    const begun = performance.now();
    const recovering = recover(deps(bed, daemon), limit());
    assert.equal(daemon.sandboxes.list().length, 2, "answers at once");
    const report = await recovering;
    assert.ok(performance.now() - begun < 8_000);
    assert.equal(report.pods.running, 2);
    process.kill(Number(shimPid), "SIGCONT");
    await daemon.sandboxes.remove(hung, limit());
  });

  test("a CNI DEL that fails holds up nothing and is tried again by the next daemon", async () => {
    await using bed = await podBed();
    const daemon = await bed.start();
    const id = await daemon.sandboxes.run({ config: bed.config(), runtimeHandler: "" }, limit());
    const broken = join(bed.dir, "plugins/bridge");
    writeFileSync(broken, "#!/bin/sh\necho no >&2; exit 1\n", { mode: 0o755 });
    await daemon.sandboxes.remove(id, limit());
    assert.equal(daemon.sandboxes.retries.list().length, 1);
    assert.equal(daemon.sandboxes.retries.list()[0]?.attempts, 1);
    await daemon.close();
    rmSync(broken);
    const next = await restart(bed);
    for (let i = 0; i < 400 && next.sandboxes.retries.list().length > 0; i++) await sleep(25);
    assert.deepEqual(next.sandboxes.retries.list(), []);
    assert.deepEqual(await bed.leftovers(), []);
    assert.equal(noContainers().list({ sandboxId: id }).length, 0);
  });
});
