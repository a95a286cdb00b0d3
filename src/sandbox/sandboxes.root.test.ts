import assert from "node:assert/strict";
import { existsSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { LifecycleEvents } from "../container/events.ts";
import { enterNetnsSync } from "../linux/namespaces.ts";
import { shimBinaries } from "../shim/test-shim.ts";
import type { HandlerConfig } from "./deps.ts";
import type { Sandboxes } from "./sandboxes.ts";
import { type PodBed, podBed, skip } from "./test-pods.ts";

const limit = (ms = 30_000): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(ms) });

async function until(what: string, ready: () => boolean): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (ready()) return;
    await sleep(25);
  }
  assert.fail(`not after 10 s: ${what}`);
}

function sandboxesRun(sandboxes: Sandboxes, bed: PodBed): Promise<string> {
  return sandboxes.run({ config: bed.config(), runtimeHandler: "" }, limit());
}

async function assertNothingLeft(bed: PodBed): Promise<void> {
  assert.deepEqual(await bed.leftovers(), []);
}

describe("pods on real shims, runc and CNI plugins", { skip }, () => {
  test("a pod's life: network, files, namespaces; gone without a trace", async (t) => {
    await using bed = await podBed();
    const { sandboxes } = await bed.start();
    const config = bed.config();
    let at = performance.now();
    const id = await sandboxes.run({ config, runtimeHandler: "" }, limit());
    t.diagnostic(`run ${(performance.now() - at).toFixed(1)} ms ${JSON.stringify(sandboxes.get(id).timeline.steps)}`);

    const pod = sandboxes.get(id);
    assert.equal(sandboxes.get(id.slice(0, 10)), pod);
    assert.equal(sandboxes.status(id).state, "ready");
    assert.match(sandboxes.status(id).ips[0] ?? "", /^10\./);
    assert.equal(readFileSync(pod.dirs.resolvConf, "utf8"), "search svc.example\nnameserver 10.96.0.10\noptions ndots:5\n");
    assert.equal(readFileSync(pod.dirs.hostname, "utf8"), "web\n");
    assert.equal(statSync(pod.dirs.shm).mode & 0o7777, 0o1777);
    assert.notEqual(readlinkSync(`/proc/${pod.pausePid}/ns/net`), readlinkSync("/proc/self/ns/net"));
    // The runtime's last step, its exec, may still be under way.
    await until("pause runs", () => readFileSync(`/proc/${pod.pausePid}/cmdline`, "utf8") === "/pause\0");
    assert.deepEqual(
      sandboxes.list({ labels: { app: "web" }, state: "ready" }).map((view) => view.id),
      [id],
    );
    assert.deepEqual(sandboxes.list({ labels: { app: "db" } }), []);
    assert.equal(sandboxes.verbose(id).pid, pod.pausePid);

    at = performance.now();
    await sandboxes.stop(id, limit());
    t.diagnostic(`stop ${(performance.now() - at).toFixed(1)} ms ${JSON.stringify(sandboxes.get(id).timeline.steps)}`);
    assert.deepEqual([sandboxes.status(id).state, sandboxes.status(id).ips], ["not-ready", []]);
    await sandboxes.stop(id, limit());
    at = performance.now();
    await sandboxes.remove(id, limit());
    t.diagnostic(`remove ${(performance.now() - at).toFixed(1)} ms`);
    await sandboxes.remove(id, limit());
    assert.throws(() => sandboxes.status(id), { kind: "not-found" });
    await assertNothingLeft(bed);
  });

  test("a duplicate of a running call joins it; of a finished one gets its id", async () => {
    await using bed = await podBed();
    const { sandboxes } = await bed.start();
    const request = { config: bed.config(), runtimeHandler: "" };
    const [first, second] = await Promise.all([sandboxes.run(request, limit()), sandboxes.run(request, limit())]);
    assert.equal(first, second);
    assert.equal(await sandboxes.run(request, limit()), first);
    await sandboxes.stop(first, limit());
    await assert.rejects(sandboxes.run(request, limit()), { kind: "already-exists" });
    await sandboxes.remove(first, limit());
    await assertNothingLeft(bed);
  });

  test("host network: no namespace, no address, the host's name", async () => {
    await using bed = await podBed();
    const { sandboxes } = await bed.start();
    const config = bed.config({ hostname: "" });
    config.security.namespaces = { network: "node", pid: "node", ipc: "node", targetId: "" };
    const id = await sandboxes.run({ config, runtimeHandler: "runc" }, limit());
    const pod = sandboxes.get(id);
    for (const name of ["net", "pid", "ipc", "uts"]) {
      assert.equal(readlinkSync(`/proc/${pod.pausePid}/ns/${name}`), readlinkSync(`/proc/self/ns/${name}`), name);
    }
    assert.equal(pod.dirs.shm, "/dev/shm");
    assert.deepEqual(sandboxes.status(id).ips, []);
    await sandboxes.remove(id, limit());
    await assertNothingLeft(bed);
  });

  test("sysctls that name an interface are set after the network", async () => {
    await using bed = await podBed();
    const { sandboxes } = await bed.start();
    const config = bed.config({ sysctls: { "net.ipv4.conf.eth0.forwarding": "1", "net.core.somaxconn": "333" } });
    const id = await sandboxes.run({ config, runtimeHandler: "" }, limit());
    const sysctl = (path: string): string =>
      enterNetnsSync(sandboxes.get(id).netnsPath, () => readFileSync(`/proc/sys/net/${path}`, "utf8"));
    assert.deepEqual([sysctl("core/somaxconn"), sysctl("ipv4/conf/eth0/forwarding")], ["333\n", "1\n"]);
    await sandboxes.remove(id, limit());
    await assertNothingLeft(bed);
  });

  test("a user namespace owns the pod's network namespace", async () => {
    await using bed = await podBed();
    const { sandboxes } = await bed.start();
    const config = bed.config();
    const map = [{ containerId: 0, hostId: 100_000, length: 65_536 }];
    config.security.namespaces = { network: "pod", pid: "pod", ipc: "pod", targetId: "", userns: { mode: "pod", uids: map, gids: map } };
    const id = await sandboxes.run({ config, runtimeHandler: "" }, limit());
    const pod = sandboxes.get(id);
    assert.match(readFileSync(`/proc/${pod.pausePid}/uid_map`, "utf8"), /^\s*0\s+100000\s+65536/);
    assert.match(sandboxes.status(id).ips[0] ?? "", /^10\./);
    assert.match(readFileSync(`/proc/${pod.pausePid}/net/dev`, "utf8"), /eth0/);
    await sandboxes.remove(id, limit());
    await assertNothingLeft(bed);
  });

  test("a failing plugin: the error names it, nothing is left, the same call works once it is mended", async () => {
    await using bed = await podBed();
    const { sandboxes } = await bed.start();
    const request = { config: bed.config(), runtimeHandler: "" };
    bed.network({ after: [{ type: "no-such-plugin" }] });
    await sleep(300);
    await assert.rejects(sandboxes.run(request, limit()), (error: Error) => {
      assert.match(error.message, /run pod sandbox default\/web-\d+ \([0-9a-f]{12}\): CNI ADD/);
      assert.match(error.message, /no-such-plugin/);
      return true;
    });
    assert.deepEqual(sandboxes.list(), []);
    bed.network();
    await sleep(300);
    const id = await sandboxes.run(request, limit());
    await sandboxes.remove(id, limit());
    assert.deepEqual(sandboxes.countByState(), { creating: 0, ready: 0, "not-ready": 0 });
  });

  test("the caller's time is over while a plugin works: the error names the step, the retry joins and succeeds", async () => {
    await using bed = await podBed();
    const { sandboxes } = await bed.start();
    const slow = join(bed.dir, "plugins/bridge");
    writeFileSync(slow, `#!/bin/sh\nsleep 1\nexec ${bed.pluginDir}/bridge\n`, { mode: 0o755 });
    const request = { config: bed.config(), runtimeHandler: "" };
    await assert.rejects(sandboxes.run(request, limit(300)), /run pod sandbox default\/web-\d+: under way: CNI ADD \w+ \(for \d+ ms\)/);
    const id = await sandboxes.run(request, limit());
    assert.deepEqual(
      sandboxes.list().map((view) => view.id),
      [id],
    );
    rmSync(slow);
    await sandboxes.remove(id, limit());
    await assertNothingLeft(bed);
  });

  test("a daemon that stops undoes what is half made", async () => {
    await using bed = await podBed();
    const first = await bed.start();
    const slow = join(bed.dir, "plugins/bridge");
    writeFileSync(slow, `#!/bin/sh\n[ "$CNI_COMMAND" = ADD ] && sleep 5\nexec ${bed.pluginDir}/bridge\n`, { mode: 0o755 });
    const running = sandboxesRun(first.sandboxes, bed);
    running.catch(() => {});
    await sleep(200);
    await first.close();
    await assert.rejects(running, { kind: "canceled" });
    const { store } = await bed.start();
    assert.deepEqual(store.sandboxes.all(), []);
    await assertNothingLeft(bed);
  });

  test("many pods at a time, made and removed", async () => {
    await using bed = await podBed();
    const { sandboxes } = await bed.start();
    const life = async (): Promise<void> => {
      const id = await sandboxesRun(sandboxes, bed);
      await sandboxes.stop(id, limit());
      await sandboxes.remove(id, limit());
    };
    await Promise.all(Array.from({ length: 4 }, () => life().then(life)));
    await assertNothingLeft(bed);
  });

  test("a failing shim and an unknown handler: named, nothing left", async () => {
    await using bed = await podBed();
    const { sandboxes } = await bed.start();
    const runc = bed.settings.handlers.runc;
    assert.ok(runc !== undefined);
    const handlers: Record<string, typeof runc> = bed.settings.handlers;
    handlers.broken = { ...runc, shim: "/bin/false" };
    handlers.absent = { ...runc, shim: "/no/such/shim" };
    const config = bed.config();
    await assert.rejects(sandboxes.run({ config, runtimeHandler: "kata" }, limit()), { kind: "invalid-argument", message: /"kata"/ });
    await assert.rejects(sandboxes.run({ config, runtimeHandler: "absent" }, limit()), {
      kind: "failed-precondition",
      message: /\/no\/such\/shim.*runtime\.handlers\.absent\.shim/,
    });
    await assert.rejects(sandboxes.run({ config, runtimeHandler: "broken" }, limit()), /start shim/);
    await assertNothingLeft(bed);
  });

  for (const { version, path, skip } of shimBinaries.filter((shim) => shim.version !== "2.4")) {
    test(`a shim of containerd ${version} does as well, over a restart too`, { skip }, async () => {
      await using bed = await podBed();
      const handlers: Record<string, HandlerConfig> = bed.settings.handlers;
      const { runc } = handlers;
      assert.ok(runc !== undefined);
      handlers.runc = { ...runc, shim: path };
      const first = await bed.start();
      const id = await first.sandboxes.run({ config: bed.config(), runtimeHandler: "" }, limit());
      assert.equal(first.sandboxes.get(id).record.process?.shim.version, 2);
      await first.close();
      const { sandboxes } = await bed.start();
      const shim = await sandboxes.get(id).shim(limit());
      assert.equal((await shim.state(id, limit())).status, "running");
      await sandboxes.remove(id, limit());
      await assertNothingLeft(bed);
    });
  }

  test("the pause is killed: the pod is not ready, an event says so", async () => {
    await using bed = await podBed();
    const events = new LifecycleEvents();
    const seen: string[] = [];
    using subscription = events.subscribe(limit(60_000));
    void (async () => {
      for await (const event of subscription) seen.push(event.type);
    })();
    const containers = { list: () => [], stop: async () => {}, remove: async () => {}, events };
    const { sandboxes } = await bed.start({ containers });
    const id = await sandboxes.run({ config: bed.config(), runtimeHandler: "" }, limit());
    process.kill(sandboxes.get(id).pausePid, "SIGKILL");
    await until("not ready", () => sandboxes.status(id).state === "not-ready");
    await sandboxes.remove(id, limit());
    await assertNothingLeft(bed);
    await sleep(10);
    assert.deepEqual(seen, ["created", "started", "stopped", "deleted"]);
  });

  test("the shim is killed: the pod is not ready and its pause is ended", async () => {
    await using bed = await podBed();
    const { sandboxes, shims } = await bed.start();
    const id = await sandboxes.run({ config: bed.config(), runtimeHandler: "" }, limit());
    const { pausePid } = sandboxes.get(id);
    const [shim] = await shims.list();
    assert.ok(shim !== undefined);
    process.kill(shim.pid, "SIGKILL");
    await until("not ready", () => sandboxes.status(id).state === "not-ready");
    await until("pause ended", () => !existsSync(`/proc/${pausePid}/ns/net`));
    await sandboxes.remove(id, limit());
    await assertNothingLeft(bed);
  });

  test("a hanging shim is killed when its pod is removed", async () => {
    await using bed = await podBed();
    const { sandboxes, shims } = await bed.start();
    const id = await sandboxes.run({ config: bed.config(), runtimeHandler: "" }, limit());
    const [shim] = await shims.list();
    assert.ok(shim !== undefined);
    process.kill(shim.pid, "SIGSTOP");
    await sandboxes.remove(id, limit(60_000));
    await assertNothingLeft(bed);
  });
});
