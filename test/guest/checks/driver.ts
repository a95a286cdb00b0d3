import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { attempt, crictl, crictlJson, leftovers, payload, property, restartCrid, run, shell, until } from "../guest.ts";
import type { GuestCheck } from "../main.ts";
import { cgroupOf, type Driver, ended, inspect, limit, podParent, type Running, start } from "../pods.ts";

const mib = 1 << 20;

interface Value {
  value?: string;
}
interface Pressure {
  Some?: { avg10?: number };
}
interface Usage {
  cpu?: { usageCoreNanoSeconds?: Value; psi?: Pressure };
  memory?: { workingSetBytes?: Value; psi?: Pressure };
  io?: { psi?: Pressure };
}

/** What a cgroup driver has to get right, and what a daemon that ends or changes must not touch. */
export function driverChecks(driver: Driver): readonly GuestCheck[] {
  let running: Running | undefined;
  const pod = (): Running => {
    running ??= start(driver, "limits", ["sh", "-c", "i=0; while :; do i=$((i+1)); echo line $i; sleep 1; done"], {
      memory_limit_in_bytes: 64 * mib,
      cpu_period: 100_000,
      cpu_quota: 50_000,
      cpu_shares: 512,
      unified: { "memory.low": String(8 * mib) },
    });
    return running;
  };
  const check = (name: string, run: GuestCheck["run"], always = false): GuestCheck => ({ name: `${driver}: ${name}`, always, run });

  return [
    check(
      "crid says that this is the driver",
      () => {
        // Without a word in the configuration it is systemd.
        if (driver === "cgroupfs") {
          writeFileSync("/etc/crid/conf.d/cgroups.yaml", "cgroupDriver: cgroupfs\n");
          restartCrid();
        }
        // What the kubelet asks at its start.
        assert.match(crictl("runtime-config"), new RegExp(`cgroup driver: +${driver}`, "i"));
      },
      true,
    ),

    check("a pod runs in the kubelet's cgroup, with its limits", () => {
      const { container, parent } = pod();
      const cgroup = cgroupOf(container);
      const name = driver === "systemd" ? `crid-${container}.scope` : container;
      assert.equal(cgroup, `/sys/fs/cgroup${parent}/${name}`);
      assert.equal(limit(cgroup, "memory.max"), String(64 * mib));
      assert.equal(limit(cgroup, "memory.low"), String(8 * mib));
      assert.equal(limit(cgroup, "cpu.max"), "50000 100000");
      if (existsSync(join(cgroup, "memory.swap.max"))) assert.equal(limit(cgroup, "memory.swap.max"), "0");
      const weight = Number(limit(cgroup, "cpu.weight"));
      // 512 of 1024 shares: 20 by the linear conversion of older runtimes, 59 by that of runc 1.3 and newer.
      assert.ok(weight >= 15 && weight <= 65, `cpu.weight ${weight}`);
      if (driver === "systemd") {
        assert.equal(property(name, "ActiveState"), "active");
        assert.equal(property(name, "MemoryMax"), String(64 * mib));
      }
    }),

    check("logs, exec and its exit code", async () => {
      const { container } = pod();
      await until("a line in the log", () => (crictl("logs", container).includes("line 2") ? true : undefined));
      assert.equal(crictl("exec", "--sync", container, "echo", "hello"), "hello");
      assert.match(attempt("crictl", "exec", "--sync", container, "sh", "-c", "exit 7").stderr, /exited with 7|exit code 7/);
      // What an exec starts is in the container's cgroup as well.
      assert.equal(crictl("exec", "--sync", container, "cat", "/proc/self/cgroup"), "0::/");
    }),

    check("a container that asks for no AppArmor profile is in crid's own, and cannot mount or change the kernel", () => {
      const { container } = pod();
      const inside = (script: string) => attempt("crictl", "exec", "--sync", container, "sh", "-c", script);
      assert.equal(inside("cat /proc/self/attr/current").stdout.trim(), "crid-default (enforce)");
      assert.notEqual(inside("echo 1 >/proc/sysrq-trigger").status, 0);
      assert.notEqual(inside("mount -t tmpfs tmpfs /mnt").status, 0);
      assert.equal(inside("echo x >/tmp/x && cat /tmp/x && kill -0 1").stdout.trim(), "x");
    }),

    check("an update changes the limits, and a systemctl daemon-reload does not bring the old ones back", () => {
      const { container } = pod();
      const cgroup = cgroupOf(container);
      crictl("update", "--memory", String(96 * mib), "--cpu-quota", "70000", "--cpu-period", "100000", container);
      run("systemctl", "daemon-reload");
      assert.equal(limit(cgroup, "memory.max"), String(96 * mib));
      assert.equal(limit(cgroup, "cpu.max"), "70000 100000");
      if (driver === "systemd") assert.equal(property(`crid-${container}.scope`, "MemoryMax"), String(96 * mib));
    }),

    check("stats of the container and of the pod, with pressure", async () => {
      const { container, pod: id } = pod();
      const one = (): Usage => crictlJson<{ stats: Usage[] }>("stats", container).stats[0] ?? {};
      const first = one();
      assert.ok(Number(first.cpu?.usageCoreNanoSeconds?.value) > 0, "cpu");
      assert.ok(Number(first.memory?.workingSetBytes?.value) > 0, "memory");
      await until("more cpu time", () =>
        Number(one().cpu?.usageCoreNanoSeconds?.value) > Number(first.cpu?.usageCoreNanoSeconds?.value) ? true : undefined,
      );
      assert.ok(first.cpu?.psi?.Some !== undefined, `pressure: ${JSON.stringify(first)}`);
      assert.ok(first.memory?.psi?.Some !== undefined);
      const { stats } = crictlJson<{ stats: { linux?: Usage & { network?: { defaultInterface?: { name?: string } } } }[] }>(
        "statsp",
        "--id",
        id,
      );
      const linux = stats[0]?.linux;
      assert.ok(Number(linux?.cpu?.usageCoreNanoSeconds?.value) >= Number(first.cpu?.usageCoreNanoSeconds?.value), "the pod's cpu");
      assert.ok(Number(linux?.memory?.workingSetBytes?.value) > 0, "the pod's memory");
      assert.equal(linux?.network?.defaultInterface?.name, "eth0");
    }),

    check("a container beyond its memory ends as OOMKilled, 137", async () => {
      const greedy = start(driver, "greedy", ["tail", "/dev/zero"], { memory_limit_in_bytes: 20 * mib });
      const { exitCode, reason } = await ended(greedy.container);
      assert.deepEqual([exitCode, reason], [137, "OOMKilled"]);
      crictl("rmp", "-f", greedy.pod);
    }),

    check("kill -9 of the daemon: systemd starts it again, the pod does not notice", async () => {
      const { container } = pod();
      const before = inspect(container);
      const main = property("crid", "MainPID");
      const restarts = Number(property("crid", "NRestarts"));
      run("kill", "-9", main);
      await until("systemd to start crid again", () =>
        property("crid", "ActiveState") === "active" && property("crid", "MainPID") !== main ? true : undefined,
      );
      assert.equal(Number(property("crid", "NRestarts")), restarts + 1);
      await untouched(container, before.pid);
    }),

    check("an upgrade in place, and systemctl stop and start: the pod does not notice", async () => {
      const { container } = pod();
      const before = inspect(container);
      run("tar", "-C", "/", "-xzf", shell(`ls ${payload}/dist/release/crid-*-linux-amd64.tar.gz`));
      restartCrid();
      await untouched(container, before.pid);
      run("systemctl", "stop", "crid");
      assert.ok(existsSync(`/proc/${before.pid}`), "the container's process");
      run("systemctl", "start", "crid");
      await untouched(container, before.pid);
    }),

    check("removing the pods leaves no process, mount, cgroup or unit", async () => {
      crictl("rmp", "-fa");
      await until("everything to be gone", () => (leftovers().length === 0 ? true : undefined)).catch(() =>
        assert.deepEqual(leftovers(), []),
      );
      const units = run("systemctl", "list-units", "--all", "--no-legend", "--plain", "crid-*.scope");
      assert.equal(units, "");
      running = undefined;
      rmSync("/var/log/pods", { recursive: true, force: true });
      // Slices of pods are the kubelet's to remove; here nobody made them but systemd itself, for the scopes.
      if (driver === "systemd") attempt("systemctl", "stop", "kubepods.slice");
      else shell(`find /sys/fs/cgroup${podParent(driver, "").split("/burstable")[0]} -depth -type d -exec rmdir {} + || true`);
    }),
  ];
}

/** The same process runs, its log goes on, an exec gets into it. */
async function untouched(container: string, pid: number): Promise<void> {
  const now = inspect(container);
  assert.deepEqual([now.state, now.pid], ["CONTAINER_RUNNING", pid]);
  assert.ok(readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("sleep 1"));
  const lines = (): string[] => crictl("logs", container).split("\n");
  const count = lines().length;
  await until("the log to go on", () => (lines().length > count ? true : undefined));
  // Not one line is missing or twice.
  const seen = lines();
  assert.deepEqual(
    seen,
    seen.map((_, index) => `line ${index + 1}`),
  );
  assert.equal(crictl("exec", "--sync", container, "echo", "hello"), "hello");
}
