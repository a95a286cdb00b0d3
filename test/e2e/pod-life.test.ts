import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { TestNode } from "./support/node.ts";
import { busybox, containerConfig, exited, type Inspected, podConfig, runContainer } from "./support/pods.ts";

for (const shim of ["2.4", "1.7", "1.6"] as const) {
  test(`a pod's whole life through crictl, shim ${shim}`, async () => {
    const node = new TestNode({ shim });
    await node.start();
    try {
      assert.match(await node.crictl("version"), /RuntimeName:\s+crid/);
      await node.crictl("pull", busybox);
      assert.match(await node.crictl("images"), /e2e-test-images\/busybox/);

      const podFile = node.file("pod.json", podConfig(node, { labels: { app: "one" }, hostname: "my-host" }));
      const pod = await node.crictl("runp", podFile);
      assert.match(pod, /^[0-9a-f]{64}$/);
      assert.equal(await node.crictl("pods", "-q", "--no-trunc", "--label", "app=one"), pod);
      assert.equal(await node.crictl("pods", "-q", "--label", "app=two"), "");

      const command = ["sh", "-c", "echo out; echo err >&2; hostname; exec sleep 3600"];
      const container = await node.crictl("create", "--no-pull", pod, node.file("container.json", containerConfig(command)), podFile);
      assert.equal((await node.json<Inspected>("inspect", container)).status.state, "CONTAINER_CREATED");
      await node.crictl("start", container);
      assert.equal((await node.json<Inspected>("inspect", container)).status.state, "CONTAINER_RUNNING");
      assert.equal(await node.crictl("ps", "-q", "--no-trunc", "--pod", pod), container);
      // Unique prefixes name a container, as crictl's users type them.
      assert.equal(await node.crictl("exec", "--sync", container.slice(0, 8), "echo", "hello"), "hello");
      await waitFor(async () => (await node.crictl("logs", container)).includes("my-host"));
      assert.deepEqual((await node.crictl("logs", container)).split("\n").sort(), ["my-host", "out"]);

      const failing = await node.tryCrictl("exec", "--sync", container, "sh", "-c", "exit 7");
      assert.match(failing.stderr, /exit code 7|7/);
      const stats = await node.json<{ stats: { memory: { workingSetBytes: { value: string } } }[] }>("stats", container);
      assert.ok(Number(stats.stats[0]?.memory.workingSetBytes.value) > 0);

      await node.crictl("stop", "--timeout", "1", container);
      const status = await exited(node, container);
      assert.equal(status.exitCode, 137);
      await node.crictl("rm", container);
      assert.equal(await node.crictl("ps", "-a", "-q"), "");
      await node.crictl("stopp", pod);
      assert.equal((await node.json<{ status: { state: string } }>("inspectp", pod)).status.state, "SANDBOX_NOTREADY");
      await node.crictl("rmp", pod);
      assert.equal(await node.crictl("pods", "-q"), "");
    } finally {
      await node.close();
    }
  });
}

test("exit codes, reasons and logs of containers that end", async () => {
  const node = new TestNode();
  await node.start();
  try {
    await node.crictl("pull", busybox);
    const good = await runContainer(node, ["sh", "-c", "echo done"]);
    const status = await exited(node, good.container);
    assert.deepEqual([status.exitCode, status.reason], [0, "Completed"]);
    assert.match(readFileSync(`${good.logDirectory}/main.log`, "utf8"), /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d) stdout F done\n$/);
    assert.ok(Date.parse(status.finishedAt) >= Date.parse(status.startedAt));

    const bad = await exited(node, (await runContainer(node, ["sh", "-c", "exit 3"])).container);
    assert.deepEqual([bad.exitCode, bad.reason], [3, "Error"]);

    const greedy = await runContainer(node, ["tail", "/dev/zero"], {
      container: { linux: { resources: { memory_limit_in_bytes: 20 << 20 } } },
    });
    const killed = await exited(node, greedy.container);
    assert.deepEqual([killed.exitCode, killed.reason], [137, "OOMKilled"]);
  } finally {
    await node.close();
  }
});

test("a pod on the host's network, with the host's pid and ipc namespaces", async () => {
  const node = new TestNode({ conflist: null });
  await node.start();
  try {
    await node.crictl("pull", busybox);
    const { container } = await runContainer(node, ["sleep", "100"], {
      pod: { linux: { cgroup_parent: node.cgroup, security_context: { namespace_options: { network: 2, pid: 2, ipc: 2 } } } },
      container: { linux: { security_context: { namespace_options: { network: 2, pid: 2, ipc: 2 } } } },
    });
    assert.match(await node.crictl("exec", "--sync", container, "ps"), /crid/);
    const inside = await node.crictl("exec", "--sync", container, "readlink", "/proc/self/ns/net");
    assert.equal(inside, await readlink("/proc/self/ns/net"));
  } finally {
    await node.close();
  }
});

test("without a network configuration the node says so, and a pod works once it is there", async () => {
  const node = new TestNode({ conflist: null });
  await node.start();
  try {
    const info = await node.json<{ status: { conditions: { type: string; status: boolean; message: string }[] } }>("info");
    const network = info.status.conditions.find(({ type }) => type === "NetworkReady");
    assert.equal(network?.status, false);
    assert.match(network?.message ?? "", new RegExp(node.confDir));
    const podFile = node.file("pod.json", podConfig(node));
    const refused = await node.tryCrictl("runp", podFile);
    assert.match(refused.stderr, new RegExp(node.confDir));
    assert.equal(await node.crictl("pods", "-q"), "");

    node.writeConflist({ cniVersion: "1.0.0", name: "broken", plugins: [{ type: "no-such-plugin" }] });
    await waitFor(async () => (await node.tryCrictl("runp", podFile)).stderr.includes("no-such-plugin"));
    assert.deepEqual(await node.leftovers(), []);

    node.writeConflist({
      cniVersion: "1.0.0",
      name: "late",
      plugins: [
        {
          type: "bridge",
          bridge: "e2elate",
          ipam: { type: "host-local", dataDir: `${node.directory}/ipam`, ranges: [[{ subnet: "10.76.0.0/16" }]] },
        },
      ],
    });
    await waitFor(async () => (await node.tryCrictl("runp", podFile)).status === 0);
  } finally {
    await node.close();
  }
});

test("two daemons side by side; a second one on the same root refuses", async () => {
  const [one, two] = [new TestNode(), new TestNode()];
  await one.start();
  await two.start();
  try {
    for (const node of [one, two]) await node.crictl("pull", busybox);
    const [a, b] = [await runContainer(one, ["sleep", "100"]), await runContainer(two, ["sleep", "100"])];
    assert.equal(await one.crictl("ps", "-q", "--no-trunc"), a.container);
    assert.equal(await two.crictl("ps", "-q", "--no-trunc"), b.container);
    const third = await one.command(`${import.meta.dirname}/../../dist/bin/crid`, ["serve", "--config", `${one.directory}/config.yaml`]);
    assert.equal(third.status, 1);
    assert.match(third.stderr, new RegExp(String(one.pid)));
    assert.ok(existsSync(one.socket), "the first daemon's socket is untouched");
    assert.equal(await one.crictl("ps", "-q", "--no-trunc"), a.container);
  } finally {
    await one.crictl("rmp", "-f", "-a");
    await two.crictl("rmp", "-f", "-a");
    await one.close();
    await two.close();
  }
});

async function readlink(path: string): Promise<string> {
  return (await import("node:fs/promises")).readlink(path);
}

async function waitFor(condition: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("the condition did not come true within 10 s");
}
