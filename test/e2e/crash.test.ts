import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { processes, TestNode } from "./support/node.ts";
import { busybox, containerConfig, exited, type Inspected, podConfig, runContainer } from "./support/pods.ts";

const source = join(import.meta.dirname, "../../src");

/** All failpoints named in the source whose name begins with `prefix`: a new one is tested without being listed here. */
function failpoints(prefix: string): string[] {
  const names = new Set<string>();
  for (const file of readdirSync(source, { recursive: true }).map(String)) {
    if (!file.endsWith(".ts") || file.endsWith(".test.ts")) continue;
    for (const match of readFileSync(join(source, file), "utf8").matchAll(/failpoint\(\s*"([^"]+)"/g)) {
      if (match[1]?.startsWith(prefix) === true) names.add(match[1]);
    }
  }
  return [...names].sort();
}

/** Crashes the daemon at each failpoint while `act` runs, restarts it, and has `again` assert that the same call now works. */
async function crashAtEach(prefix: string, prepare: (node: TestNode) => Promise<string[]>): Promise<void> {
  const names = failpoints(prefix);
  assert.ok(names.length > 0, `no failpoint begins with ${prefix}`);
  for (const name of names) {
    const node = new TestNode();
    await node.start();
    try {
      const args = await prepare(node);
      await node.stop();
      await node.start({ failpoints: `${name}=crash` });
      const broken = await node.tryCrictl(...args);
      if (broken.status === 0) throw new Error(`${name} was not reached by crictl ${args[0]}`);
      await node.died();
      await node.start();
      const again = await node.tryCrictl(...args);
      // The start may have finished a removal, and crictl itself refuses to remove what is not there.
      if (again.status !== 0 && !(args[0]?.startsWith("rm") === true && again.stderr.includes("not found"))) throw new Error(again.stderr);
    } catch (error) {
      throw new Error(`failpoint ${name}`, { cause: error });
    } finally {
      await node.close();
    }
  }
}

test("crash at each step of RunPodSandbox: the same call works, and nothing is left", async () => {
  await crashAtEach("sandbox.run.", async (node) => ["runp", node.file("pod.json", podConfig(node))]);
});

test("crash at each step of StopPodSandbox", async () => {
  await crashAtEach("sandbox.stop.", async (node) => ["stopp", await node.crictl("runp", node.file("pod.json", podConfig(node)))]);
});

test("crash at each step of RemovePodSandbox", async () => {
  await crashAtEach("sandbox.remove.", async (node) => ["rmp", "-f", await node.crictl("runp", node.file("pod.json", podConfig(node)))]);
});

test("crash at each step of CreateContainer", async () => {
  await crashAtEach("container.create.", async (node) => {
    await node.crictl("pull", busybox);
    const podFile = node.file("pod.json", podConfig(node));
    const pod = await node.crictl("runp", podFile);
    return ["create", "--no-pull", pod, node.file("container.json", containerConfig(["sleep", "100"])), podFile];
  });
});

test("crash at each step of PullImage", async () => {
  await crashAtEach("image.pull.", async () => ["pull", busybox]);
});

test("crash at each step of StartContainer: the container is running, or ended with a reason, and can be removed", async () => {
  for (const name of failpoints("container.start.")) {
    const node = new TestNode();
    await node.start();
    try {
      await node.crictl("pull", busybox);
      const podFile = node.file("pod.json", podConfig(node));
      const pod = await node.crictl("runp", podFile);
      const container = await node.crictl(
        "create",
        "--no-pull",
        pod,
        node.file("container.json", containerConfig(["sleep", "100"])),
        podFile,
      );
      await node.stop();
      await node.start({ failpoints: `${name}=crash` });
      assert.notEqual((await node.tryCrictl("start", container)).status, 0, `${name} was not reached`);
      await node.died();
      await node.start();
      await node.recovered();
      const { status } = await node.json<Inspected>("inspect", container);
      if (status.state === "CONTAINER_CREATED") await node.crictl("start", container);
      else if (status.state === "CONTAINER_EXITED") assert.notEqual(status.reason, "");
      else assert.equal(status.state, "CONTAINER_RUNNING");
    } catch (error) {
      throw new Error(`failpoint ${name}`, { cause: error });
    } finally {
      await node.close();
    }
  }
});

test("killed and started again: pods run on, exits and log lines in between are there", async () => {
  const node = new TestNode();
  await node.start();
  try {
    await node.crictl("pull", busybox);
    const counting = await runContainer(node, ["sh", "-c", "i=0; while :; do i=$((i+1)); echo line $i; usleep 2000; done"]);
    const ending = await runContainer(node, ["sh", "-c", "sleep 1; echo last words; exit 5"]);
    const pids = processes((command) => command.includes("containerd-shim-runc"));
    await node.stop("SIGKILL");
    await sleep(2000);
    await node.start();
    assert.deepEqual(
      processes((command) => command.includes("containerd-shim-runc")),
      pids,
    );
    const status = await exited(node, ending.container);
    assert.deepEqual([status.exitCode, status.reason], [5, "Error"]);
    assert.match(readFileSync(`${ending.logDirectory}/main.log`, "utf8"), /last words/);
    assert.equal(await node.crictl("exec", "--sync", counting.container, "echo", "here"), "here");
    await node.crictl("stop", "--timeout", "0", counting.container);
    const numbers = readFileSync(`${counting.logDirectory}/main.log`, "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => Number(line.split(" ").at(-1)));
    assert.ok(numbers.length > 500, `${numbers.length} lines`);
    for (const [index, number] of numbers.entries()) assert.equal(number, index + 1, "a line is lost or twice in the log");
  } finally {
    await node.close();
  }
});

test("a shim that dies with the daemon away: the pod is not ready, its containers exited with a reason", async () => {
  const node = new TestNode();
  await node.start();
  try {
    await node.crictl("pull", busybox);
    const { pod, container } = await runContainer(node, ["sleep", "1000"]);
    await node.stop("SIGKILL");
    for (const pid of processes((command) => command.includes("containerd-shim-runc"))) process.kill(pid, "SIGKILL");
    await node.start();
    const status = await exited(node, container);
    assert.ok([137, 255].includes(status.exitCode));
    assert.notEqual(status.reason, "");
    assert.equal((await node.json<{ status: { state: string } }>("inspectp", pod)).status.state, "SANDBOX_NOTREADY");
  } finally {
    await node.close();
  }
});

test("a reboot: every pod is not ready, its address is free, and it can be removed", async () => {
  const node = new TestNode();
  await node.start();
  try {
    await node.crictl("pull", busybox);
    const { pod, container } = await runContainer(node, ["sleep", "1000"]);
    await node.stop("SIGKILL");
    // What a reboot does: no process, no mount, no state directory, another boot id.
    for (const pid of processes((command) => /containerd-shim-runc|\/pause|sleep 1000|logger/.test(command))) process.kill(pid, "SIGKILL");
    await sleep(200);
    const state = join(node.directory, "state");
    for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n").reverse()) {
      const point = line.split(" ")[4];
      if (point?.startsWith(state) === true) await node.command("umount", ["-l", point]);
    }
    rmSync(state, { recursive: true, force: true });
    const bootId = node.file("boot-id", "00000000-0000-4000-8000-000000000001");
    await node.command("mount", ["--bind", bootId, "/proc/sys/kernel/random/boot_id"]);
    await node.start();
    assert.equal((await node.json<{ status: { state: string } }>("inspectp", pod)).status.state, "SANDBOX_NOTREADY");
    const status = await exited(node, container);
    assert.notEqual(status.reason, "");
    const ipam = join(node.directory, "ipam");
    for (let attempt = 0; attempt < 50 && addresses(ipam).length > 0; attempt++) await sleep(100);
    assert.deepEqual(addresses(ipam), []);
    await node.crictl("rmp", pod);
  } finally {
    await node.command("umount", ["/proc/sys/kernel/random/boot_id"]);
    await node.close();
  }
});

test("a full disk: the call fails, the store stays readable, removing works", async () => {
  const node = new TestNode();
  const root = join(node.directory, "root");
  await node.command("mkdir", ["-p", root]);
  await node.command("mount", ["-t", "tmpfs", "-o", "size=24m", "tmpfs", root]);
  await node.start();
  try {
    await node.crictl("pull", busybox);
    const { container, pod } = await runContainer(node, ["sleep", "1000"]);
    writeFileSync(join(root, "filler"), "");
    await node.command("sh", ["-c", `dd if=/dev/zero of=${root}/filler bs=64k 2>/dev/null`]);
    const pull = await node.tryCrictl("pull", "registry.k8s.io/e2e-test-images/nginx:1.14-2");
    assert.match(pull.stderr, /space|ENOSPC|disk/i);
    assert.equal(await node.crictl("ps", "-q", "--no-trunc"), container);
    await node.crictl("stop", "--timeout", "0", container);
    await node.crictl("rm", container);
    await node.crictl("rmp", "-f", pod);
    assert.equal(await node.crictl("pods", "-q"), "");
    rmSync(join(root, "filler"));
    await node.crictl("pull", "registry.k8s.io/e2e-test-images/nginx:1.14-2");
  } finally {
    await node.crictl("rmp", "-f", "-a").catch(() => undefined);
    await node.stop();
    await node.command("umount", ["-l", root]);
    await node.close();
  }
});

function addresses(ipam: string): string[] {
  if (!existsSync(ipam)) return [];
  return readdirSync(ipam, { recursive: true })
    .map(String)
    .filter((name) => /\d+\.\d+\.\d+\.\d+$/.test(name));
}
