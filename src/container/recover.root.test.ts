import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { armFailpoints } from "../base/failpoints.ts";
import { kill, processState } from "../linux/process.ts";
import { type ContainerDaemon, containerBed, limit, shimVersions } from "./test-bed.ts";

async function exited(daemon: ContainerDaemon, id: string): Promise<{ exitCode: number; reason: string; message: string }> {
  for (let i = 0; i < 1000 && daemon.containers.get(id).state !== "exited"; i++) await sleep(10);
  const { exitCode, reason, message } = daemon.containers.get(id).record.status;
  assert.equal(daemon.containers.get(id).state, "exited");
  return { exitCode, reason, message };
}

for (const { version, path, skip } of shimVersions) {
  describe(`restart, shim ${version}`, { skip }, () => {
    test("a restart of the daemon: containers run on, exits and output in between are there", async () => {
      await using bed = await containerBed(path);
      const before = await bed.start();
      const pod = await bed.pod();
      const make = async (name: string, command: string): Promise<string> => {
        const id = await before.containers.create(
          { sandboxId: pod.id, config: bed.config({ name, command: ["sh", "-c", command] }) },
          limit(),
        );
        await before.containers.start(id, limit());
        return id;
      };
      const stays = await make("stays", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done");
      const ends = await make("ends", "sleep 0.5; echo bye; exit 6");
      const created = await before.containers.create({ sandboxId: pod.id, config: bed.config({ name: "created" }) }, limit());
      await before.close();
      await sleep(900);

      const after = await bed.start();
      assert.deepEqual(after.containers.load(), { interrupted: [] });
      assert.deepEqual(
        [stays, ends, created].map((id) => after.containers.get(id).state),
        ["unknown", "unknown", "created"],
      );
      const known = new Set(await after.logger.list());
      const shim = await pod.shim(limit());
      for (const id of [stays, ends, created]) await after.containers.adopt(id, shim, { logOpen: known.has(id), ...limit() });
      assert.equal(after.containers.get(stays).state, "running");
      assert.deepEqual(await exited(after, ends), { exitCode: 6, reason: "Error", message: "" });
      assert.match(bed.log("ends"), /bye\n$/);
      assert.equal((await after.containers.execSync(stays, { cmd: ["cat", "/etc/hosts"], timeoutMs: 0, ...limit() })).exitCode, 0);
      await after.containers.start(created, limit());
      await after.containers.stop(stays, { graceMs: 0, ...limit() });
      const numbers = bed
        .log("stays")
        .split("\n")
        .slice(0, -1)
        .map((line) => Number(line.split(" ")[3]));
      assert.ok(numbers.length > 15);
      assert.deepEqual(
        numbers,
        numbers.map((_, index) => index),
      );
    });

    test("a shim that is killed: its containers end with a reason, and nothing is left of them", async () => {
      await using bed = await containerBed(path);
      const daemon = await bed.start();
      const { containers } = daemon;
      const pod = await bed.pod();
      const id = await containers.create({ sandboxId: pod.id, config: bed.config({ command: ["sleep", "1000"] }) }, limit());
      await containers.start(id, limit());
      const pid = containers.get(id).record.status.process?.pid ?? 0;
      kill(pod.shimPid(), 9);
      assert.deepEqual(await exited(daemon, id), { exitCode: 137, reason: "Error", message: "the pod's shim died" });
      assert.ok([undefined, "Z", "X"].includes(processState(pid)), `process ${pid} is ${processState(pid)}`);
      await containers.stop(id, { graceMs: 10, ...limit() });
      await containers.remove(id, limit());
      pod.disconnect();
      await pod.stop();
      assert.deepEqual(await bed.leftovers(), []);
    });

    test("a start that is given up while the OCI runtime is at it: nothing is left once the container is removed", async () => {
      await using bed = await containerBed(path);
      const pod = await bed.pod();
      const before = await bed.leftovers();
      for (const ms of [3, 12, 25, 40, 60]) {
        const daemon = await bed.start();
        daemon.containers.load();
        const id = await daemon.containers.create(
          { sandboxId: pod.id, config: bed.config({ attempt: ms, command: ["sleep", "1000"] }) },
          limit(),
        );
        const started = daemon.containers.start(id, limit()).catch(() => {});
        await sleep(ms);
        await Promise.all([daemon.close(), started]);
        const next = await bed.start();
        next.containers.load();
        await next.containers.adopt(id, await pod.shim(limit()), { logOpen: false, ...limit() });
        await next.containers.remove(id, limit());
        assert.deepEqual(await bed.leftovers(), before, `given up after ${ms} ms`);
        await next.close();
      }
    });
  });
}

const [newest] = shimVersions;

describe("interrupted steps", { skip: newest?.skip ?? "no shim" }, () => {
  test("an error at any failpoint of create, start and remove leaves nothing, and the call works afterwards", async () => {
    await using bed = await containerBed(newest?.path ?? "");
    const { containers } = await bed.start();
    const pod = await bed.pod();
    const before = await bed.leftovers();
    let attempt = 0;
    const create = () =>
      containers.create({ sandboxId: pod.id, config: bed.config({ attempt: attempt++, command: ["sleep", "1000"] }) }, limit());
    try {
      for (const name of ["after-record", "after-rootfs", "after-bundle"]) {
        armFailpoints(`container.create.${name}=error`);
        await assert.rejects(create(), /failpoint/);
        assert.deepEqual(await bed.leftovers(), before, name);
      }
      for (const name of ["before-create", "after-create", "after-start"]) {
        armFailpoints(`container.start.${name}=error`);
        const id = await create();
        await assert.rejects(containers.start(id, limit()), /failpoint/);
        assert.equal(containers.get(id).record.status.reason, "StartError");
        armFailpoints("");
        await containers.remove(id, limit());
        assert.deepEqual(await bed.leftovers(), before, name);
      }
      for (const name of ["after-mark", "before-record"]) {
        const id = await create();
        await containers.start(id, limit());
        armFailpoints(`container.remove.${name}=error`);
        await assert.rejects(containers.remove(id, limit()), /failpoint/);
        assert.equal(containers.get(id).record.status.removing, true);
        armFailpoints("");
        await containers.remove(id, limit());
        assert.deepEqual(await bed.leftovers(), before, name);
      }
    } finally {
      armFailpoints("");
    }
    assert.deepEqual(containers.list(), []);
  });

  test("what a crash left: a half made container is undone, a half removed one finished", async () => {
    await using bed = await containerBed(newest?.path ?? "");
    const first = await bed.start();
    const pod = await bed.pod();
    const before = await bed.leftovers();
    const id = await first.containers.create({ sandboxId: pod.id, config: bed.config({ command: ["sleep", "1000"] }) }, limit());
    const { record } = first.containers.get(id);
    await first.close();

    const second = await bed.start();
    second.table.put({ ...record, status: { ...record.status, creating: true } });
    const { interrupted } = second.containers.load();
    assert.deepEqual(
      interrupted.map((one) => one.id),
      [id],
    );
    assert.deepEqual(second.containers.list(), []);
    for (const one of interrupted) await second.containers.undoCreation(one);
    assert.deepEqual(await bed.leftovers(), before);
    assert.ok(!existsSync(join(bed.dir, "bundles", id)));
  });
});
