import assert from "node:assert/strict";
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { NO_RESOURCES } from "../oci/fixtures.ts";
import type { MountConfig } from "../records/container-config.ts";
import type { LifecycleEvent } from "./events.ts";
import { containerBed, limit, shimVersions } from "./test-bed.ts";

for (const { version, path, skip } of shimVersions) {
  describe(`shim ${version}`, { skip }, () => {
    test("a container's life: create, start, log, exec, stop, remove", async (t) => {
      await using bed = await containerBed(path);
      const { containers } = await bed.start();
      const pod = await bed.pod();
      const laps: string[] = [];
      const lap = async <T>(name: string, work: Promise<T>): Promise<T> => {
        const at = performance.now();
        const result = await work;
        laps.push(`${name} ${(performance.now() - at).toFixed(1)}`);
        return result;
      };
      const config = bed.config({ command: ["sh", "-c", "echo out; echo err >&2; trap 'exit 7' TERM; while :; do sleep 0.1; done"] });
      const id = await lap("create", containers.create({ sandboxId: pod.id, config }, limit()));
      assert.equal(containers.get(id).state, "created");
      assert.equal(await containers.create({ sandboxId: pod.id, config }, limit()), id);
      await lap("start", containers.start(id, limit()));
      assert.equal(containers.get(id).state, "running");
      await assert.rejects(containers.start(id, limit()), { kind: "failed-precondition" });
      const result = await lap(
        "exec",
        containers.execSync(id.slice(0, 10), {
          cmd: ["sh", "-c", "cat /etc/hostname; echo $FROM_IMAGE >&2; exit 3"],
          timeoutMs: 5000,
          ...limit(),
        }),
      );
      assert.deepEqual([result.stdout.toString(), result.stderr.toString(), result.exitCode], ["hostname of the pod\n", "1\n", 3]);
      await lap("stop", containers.stop(id, { graceMs: 5000, ...limit() }));
      const { status } = containers.get(id).record;
      assert.deepEqual([containers.get(id).state, status.exitCode, status.reason], ["exited", 7, "Error"]);
      assert.ok(status.finishedAt >= status.startedAt && status.startedAt >= status.createdAt);
      const lines = bed
        .log("main")
        .split("\n")
        .map((line) => line.replace(/^\S+ /, ""));
      assert.deepEqual(lines.sort(), ["", "stderr F err", "stdout F out"]);
      await lap("remove", containers.remove(id, limit()));
      await containers.remove(id, limit());
      await containers.stop(id, { graceMs: 0, ...limit() });
      assert.deepEqual(containers.list(), []);
      await pod.stop();
      assert.deepEqual(await bed.leftovers(), []);
      t.diagnostic(`${version}: ms: ${laps.join(", ")}`);
    });
  });
}

const [newest] = shimVersions;
if (newest === undefined) throw new Error("no shim");
const { path: shim, skip } = newest;

function mount(hostPath: string, containerPath: string, change: Partial<MountConfig> = {}): MountConfig {
  return {
    hostPath,
    containerPath,
    readonly: false,
    recursiveReadonly: false,
    selinuxRelabel: false,
    propagation: "private",
    uidMappings: [],
    gidMappings: [],
    options: [],
    ...change,
  };
}

describe("containers", { skip }, () => {
  test("creations that fail name the cause and leave nothing; the same call works once it is mended", async () => {
    await using bed = await containerBed(shim);
    const { containers } = await bed.start();
    const pod = await bed.pod();
    const missing = join(bed.dir, "missing");
    const create = (change: Parameters<typeof bed.config>[0]) =>
      containers.create({ sandboxId: pod.id, config: bed.config(change) }, limit());
    const before = await bed.leftovers();
    const { security } = bed.config();
    await assert.rejects(create({ image: { ...bed.config().image, ref: "ghost" } }), {
      kind: "not-found",
      message: /image "ghost": not found/,
    });
    await assert.rejects(create({ security: { ...security, runAsUsername: "ghost" } }), { kind: "not-found", message: /user ghost/ });
    await assert.rejects(create({ stopSignal: "SIGNONE" }), { kind: "invalid-argument" });
    await assert.rejects(create({ devices: [{ hostPath: "/dev/ghost", containerPath: "", permissions: "r" }] }), { kind: "not-found" });
    symlinkSync("nowhere", join(bed.dir, "dangling"));
    await assert.rejects(create({ mounts: [mount(join(bed.dir, "dangling"), "/m")] }), {
      kind: "failed-precondition",
      message: /host path ".*dangling" does not exist/,
    });
    assert.deepEqual(await bed.leftovers(), before);
    await containers.remove(await create({ mounts: [mount(missing, "/m")] }), limit());
    pod.ready = false;
    await assert.rejects(create({}), { kind: "failed-precondition", message: /is not running/ });
  });

  test("two creations at once under one name are one", async () => {
    await using bed = await containerBed(shim);
    const { containers } = await bed.start();
    const pod = await bed.pod();
    const request = { sandboxId: pod.id, config: bed.config() };
    const [a, b] = await Promise.all([containers.create(request, limit()), containers.create(request, limit())]);
    assert.equal(a, b);
    assert.equal(containers.list().length, 1);
    // The next attempt is another container.
    assert.notEqual(await containers.create({ ...request, config: bed.config({ attempt: 1 }) }, limit()), a);
  });

  test("a start that fails: exited with StartError, nothing left but the record", async () => {
    await using bed = await containerBed(shim);
    const { containers, logger } = await bed.start();
    const pod = await bed.pod();
    const id = await containers.create({ sandboxId: pod.id, config: bed.config({ command: ["/no/such"] }) }, limit());
    await assert.rejects(containers.start(id, limit()), /no such file or directory/);
    const { record, state } = containers.get(id);
    assert.deepEqual(
      [state, record.status.exitCode, record.status.reason, record.status.process],
      ["exited", 128, "StartError", undefined],
    );
    assert.match(record.status.message, /no such file/);
    assert.deepEqual(await logger.list(), []);
    await assert.rejects(containers.execSync(id, { cmd: ["true"], timeoutMs: 0, ...limit() }), /container is in CONTAINER_EXITED state/);
    await containers.remove(id, limit());
  });

  test("stop: SIGKILL after the grace; a second call with none cuts it short", async () => {
    await using bed = await containerBed(shim);
    const { containers } = await bed.start();
    const pod = await bed.pod();
    const deaf = { command: ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"] };
    const ids = await Promise.all(
      ["a", "b"].map((name) => containers.create({ sandboxId: pod.id, config: bed.config({ name, ...deaf }) }, limit())),
    );
    const [a = "", b = ""] = ids;
    for (const id of ids) await containers.start(id, limit());
    await containers.stop(a, { graceMs: 300, ...limit() });
    const slow = containers.stop(b, { graceMs: 60_000, ...limit() });
    await containers.stop(b, { graceMs: 0, ...limit() });
    await slow;
    for (const id of ids) assert.equal(containers.get(id).record.status.exitCode, 137);
    await assert.rejects(
      containers.stop(await running("c"), { graceMs: 60_000, signal: AbortSignal.timeout(200) }),
      /waiting for its processes/,
    );

    async function running(name: string): Promise<string> {
      const id = await containers.create({ sandboxId: pod.id, config: bed.config({ name, ...deaf }) }, limit());
      await containers.start(id, limit());
      return id;
    }
  });

  test("exits: Completed, Error, OOMKilled; with their events in order", async () => {
    await using bed = await containerBed(shim);
    const { containers } = await bed.start();
    const pod = await bed.pod();
    using events = containers.events.subscribe(limit());
    const run = async (name: string, command: string, memory = 0): Promise<[number, string]> => {
      const resources = { ...NO_RESOURCES, memoryLimitBytes: memory };
      const id = await containers.create(
        { sandboxId: pod.id, config: bed.config({ name, command: ["sh", "-c", command], resources }) },
        limit(),
      );
      await containers.start(id, limit());
      while (containers.get(id).state !== "exited") await new Promise((resolve) => setTimeout(resolve, 10));
      const { exitCode, reason } = containers.get(id).record.status;
      await containers.remove(id, limit());
      return [exitCode, reason];
    };
    assert.deepEqual(await run("ok", "exit 0"), [0, "Completed"]);
    assert.deepEqual(await run("bad", "exit 9"), [9, "Error"]);
    assert.deepEqual(await run("oom", "x=a; while :; do x=$x$x; done", 16 << 20), [137, "OOMKilled"]);
    const seen: LifecycleEvent["type"][] = [];
    for await (const event of events) {
      seen.push(event.type);
      if (seen.length === 4) break;
    }
    assert.deepEqual(seen, ["created", "started", "stopped", "deleted"]);
  });

  test("mounts, user, groups, hosts and limits are as asked", async () => {
    await using bed = await containerBed(shim);
    const { containers } = await bed.start();
    const pod = await bed.pod();
    const host = join(bed.dir, "host");
    mkdirSync(host);
    writeFileSync(join(host, "f"), "from host\n");
    const { security } = bed.config();
    const config = bed.config({
      command: ["sleep", "100"],
      env: [{ name: "OWN", valueBase64: Buffer.from("a b").toString("base64") }],
      workingDir: "/tmp",
      mounts: [mount(host, "/data", { readonly: true }), mount(join(host, "f"), "/etc/hosts")],
      resources: { ...NO_RESOURCES, memoryLimitBytes: 64 << 20, cpuShares: 512 },
      security: {
        ...security,
        runAsUser: 1000,
        runAsGroup: 1234,
        supplementalGroups: [777],
        noNewPrivs: true,
        readonlyRootfs: true,
        seccomp: { type: "runtime-default", localhostRef: "" },
        maskedPaths: ["/proc/kcore"],
        readonlyPaths: ["/proc/sys"],
        capabilities: { add: ["NET_ADMIN"], drop: ["ALL"], addAmbient: [] },
      },
    });
    const id = await containers.create({ sandboxId: pod.id, config }, limit());
    await containers.start(id, limit());
    const sh = async (command: string): Promise<string> => {
      const { stdout, stderr } = await containers.execSync(id, { cmd: ["sh", "-c", command], timeoutMs: 5000, ...limit() });
      return (stdout.toString() + stderr.toString()).trim();
    };
    assert.equal(await sh("id -u; id -g; pwd; echo $OWN"), "1000\n1234\n/tmp\na b");
    assert.match(await sh("id -G"), /\b777\b/);
    assert.equal(await sh("cat /data/f /etc/hosts"), "from host\nfrom host");
    assert.match(await sh("echo x > /data/f"), /Read-only|can't create/);
    assert.match(await sh("touch /x"), /Read-only/);
    assert.match(
      await sh("grep -E 'NoNewPrivs|Seccomp:|CapBnd' /proc/self/status | tr -s '\\t ' ' '"),
      /CapBnd: 0000000000001000\nNoNewPrivs: 1\nSeccomp: 2/,
    );
    assert.equal(await sh("grep -c ' /dev/shm ' /proc/mounts"), "1");
    assert.deepEqual(containers.get(id).record.user, { uid: 1000, gid: 1234, supplementalGroups: [777, 1234] });
    await containers.updateResources(id, { resources: { ...NO_RESOURCES, memoryLimitBytes: 48 << 20 }, annotations: {}, ...limit() });
    assert.equal(containers.get(id).record.status.resources.memoryLimitBytes, 48 << 20);
    assert.equal(containers.get(id).record.status.resources.cpuShares, 512);
    const limitFile =
      ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].map((root) => join(root, pod.containerCgroupsPath(id))).find(existsSync) ?? "";
    assert.equal(
      await sh("cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"),
      String(48 << 20),
      limitFile,
    );
  });

  test("an image's declared volume is filled from the image, and gone with the container", async () => {
    await using bed = await containerBed(shim);
    const { containers } = await bed.start();
    const pod = await bed.pod();
    bed.image.config.volumes.push("/etc", "/fresh");
    const id = await containers.create(
      { sandboxId: pod.id, config: bed.config({ command: ["sh", "-c", "touch /etc/own /fresh/f && grep -c root /etc/passwd"] }) },
      limit(),
    );
    await containers.start(id, limit());
    while (containers.get(id).state !== "exited") await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(containers.get(id).record.status.exitCode, 0, bed.log("main"));
    assert.ok(existsSync(join(bed.dir, "containers", id, "volumes/0/own")));
    await containers.remove(id, limit());
    assert.ok(!existsSync(join(bed.dir, "containers", id)));
  });

  test("an image volume with a sub path; a sub path that is not there is an error", async () => {
    await using bed = await containerBed(shim);
    const { containers } = await bed.start();
    const pod = await bed.pod();
    const volume = (subPath: string) => mount("", "/img", { readonly: true, image: { ref: "busybox", userSpecified: "busybox", subPath } });
    const create = (name: string, subPath: string) =>
      containers.create(
        {
          sandboxId: pod.id,
          config: bed.config({ name, command: ["sh", "-c", "cat /img/passwd && ! touch /img/x"], mounts: [volume(subPath)] }),
        },
        limit(),
      );
    await assert.rejects(create("bad", "no/such"), { kind: "not-found", message: /sub path "no\/such" does not exist/ });
    const id = await create("good", "../etc");
    await containers.start(id, limit());
    while (containers.get(id).state !== "exited") await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(containers.get(id).record.status.exitCode, 0, bed.log("good"));
    assert.equal(containers.get(id).record.imageMounts[0]?.containerPath, "/img");
  });
});
