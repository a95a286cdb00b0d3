import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { emptyResources, v1 } from "../../src/nri/messages.ts";
import { TestPlugin } from "../../src/nri/test-plugin.ts";
import { TestNode } from "./support/node.ts";
import { busybox, containerConfig, exited, type Inspected, podConfig, runContainer } from "./support/pods.ts";

const sample = join(import.meta.dirname, "../../.tools/nri/ulimit-adjuster");
/** A directory of the sample plugins that are no Go modules which a proxy has; whoever has their sources builds them and says where. */
const more = process.env.NRI_SAMPLES ?? "";

async function until(what: string, done: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 400; attempt++) {
    if (done()) return;
    await sleep(50);
  }
  assert.fail(`${what} does not come to pass`);
}

const plugins = async (node: TestNode): Promise<string[]> => {
  const info = await node.json<{ nri?: unknown; config?: unknown } & Record<string, unknown>>("info");
  return /"plugins":\[([^\]]*)\]/.exec(JSON.stringify(info).replaceAll("\\", ""))?.[1]?.replaceAll('"', "").split(",") ?? [];
};

test("sample plugins of NRI, unmodified, as pre-installed plugins", async (t) => {
  if (!existsSync(sample)) return t.skip("there is no .tools/nri/ulimit-adjuster: run hack/build-tools nri-sample");
  const node = new TestNode();
  const [pluginDir, confDir] = [join(node.directory, "nri-plugins"), join(node.directory, "nri-conf.d")];
  mkdirSync(pluginDir);
  mkdirSync(confDir);
  copyFileSync(sample, join(pluginDir, "10-ulimit-adjuster"));
  writeFileSync(join(pluginDir, "notaplugin"), "#!/bin/sh\n", { mode: 0o755 });
  const others =
    more === "" ? [] : ["logger", "device-injector", "network-logger", "template"].filter((name) => existsSync(join(more, name)));
  for (const name of others) copyFileSync(join(more, name), join(pluginDir, `20-${name}`));
  writeFileSync(join(confDir, "20-logger.conf"), `logFile: ${node.directory}/logger.log\nsetEnv: LOGGED\nevents: [all]\n`);
  await node.start();
  try {
    await node.crictl("pull", busybox);
    const annotations = {
      "ulimits.nri.containerd.io/container.main": "- {type: nofile, hard: 512, soft: 256}",
      "devices.noderesource.dev/container.main": "- {path: /dev/injected, type: c, major: 1, minor: 3}",
      "mounts.noderesource.dev/container.main": "- {source: tmpfs, destination: /injected, type: tmpfs, options: [ro]}",
    };
    const { container } = await runContainer(node, ["sleep", "3600"], { pod: { annotations } });
    assert.equal(await node.crictl("exec", container, "sh", "-c", "ulimit -Sn; ulimit -Hn"), "256\n512");
    if (others.includes("device-injector"))
      assert.equal(await node.crictl("exec", container, "sh", "-c", "test -c /dev/injected && grep -c /injected /proc/mounts"), "1");
    if (others.includes("logger")) {
      assert.match(await node.crictl("exec", container, "env"), /^LOGGED=logger-pid-/m);
      await node.crictl("rm", "-f", container);
      const log = readFileSync(join(node.directory, "logger.log"), "utf8");
      for (const event of [
        "Synchronize",
        "RunPodSandbox",
        "CreateContainer",
        "PostCreateContainer",
        "StartContainer",
        "PostStartContainer",
        "StopContainer",
        "RemoveContainer",
      ])
        assert.ok(log.includes(event), `${event} in ${log}`);
    }
    assert.deepEqual(await plugins(node), ["10-ulimit-adjuster", ...others.map((name) => `20-${name}`).toSorted()]);
    t.diagnostic(`plugins: ulimit-adjuster ${others.join(" ")}`);
    // A broken annotation: the plugin refuses, and what it says is the answer.
    const pod = node.file(
      "bad-pod.json",
      podConfig(node, { annotations: { "ulimits.nri.containerd.io/container.main": "- {type: nonsense}" } }),
    );
    const podId = await node.crictl("runp", pod);
    const { stderr } = await node.tryCrictl("create", "--no-pull", podId, node.file("bad.json", containerConfig(["true"])), pod);
    assert.match(stderr, /plugin 10-ulimit-adjuster, CreateContainer: .*failed to parse type: \W+nonsense/);
    assert.match(node.log, /notaplugin.*not started as an NRI plugin|not started as an NRI plugin.*notaplugin/);
    await node.crictl("rmp", "-fa");
  } finally {
    await node.close();
  }
  assert.deepEqual(processesOf(node.directory), [], "the plugins end with the daemon");
});

test("a plugin of our own: what it adjusts is what runs, limits follow it, and its death harms nobody", async () => {
  const node = new TestNode();
  const memory = (limit: number) => Object.assign(emptyResources(), { memory: new v1.LinuxMemory({ limit: { value: BigInt(limit) } }) });
  await node.start();
  try {
    await node.crictl("pull", busybox);
    await until("the NRI socket", () => existsSync(node.nriSocket));
    let dies = false;
    using plugin = new TestPlugin(node.nriSocket, {
      on: {
        CreateContainer: () => {
          if (dies) plugin.socket.destroy();
          return {
            adjust: {
              annotations: { adjusted: "yes" },
              env: [{ key: "FROM_PLUGIN", value: "1" }],
              mounts: [{ destination: "/from-plugin", type: "tmpfs", source: "tmpfs", options: ["ro"] }],
              linux: { resources: memory(96 << 20), cgroupsPath: `${node.cgroup}/of-plugin` },
            },
          };
        },
        UpdateContainer: ({ container }) => ({ update: [{ containerId: container?.id, linux: { resources: memory(80 << 20) } }] }),
      },
    });
    await plugin.register();
    await until("the plugin's registration", () => node.log.includes("NRI plugin is ready"));
    const { container, pod } = await runContainer(node, ["sleep", "3600"]);
    assert.equal(await node.crictl("exec", container, "sh", "-c", "echo $FROM_PLUGIN; grep -c /from-plugin /proc/mounts"), "1\n1");
    const inspected = await node.json<Inspected & { status: { resources: { linux: { memoryLimitInBytes: string } } } }>(
      "inspect",
      container,
    );
    assert.equal((inspected.info.runtimeSpec as { annotations: Record<string, string> }).annotations.adjusted, "yes");
    assert.equal(inspected.status.resources.linux.memoryLimitInBytes, String(96 << 20));
    assert.equal(limitOf(node), String(96 << 20), "in the cgroup that the plugin named");
    await node.crictl("update", "--memory", String(128 << 20), container);
    assert.equal(limitOf(node), String(80 << 20), "the plugin's word counts");
    const update = new v1.ContainerUpdate({ containerId: container, linux: { resources: memory(72 << 20) } });
    const unknown = new v1.ContainerUpdate({ containerId: "f".repeat(64), linux: { resources: memory(1) } });
    assert.deepEqual(
      (await plugin.update([update, unknown])).map(({ containerId }) => containerId),
      ["f".repeat(64)],
    );
    assert.equal(limitOf(node), String(72 << 20));
    await plugin.update([], [new v1.ContainerEviction({ containerId: container, reason: "room" })]);
    assert.equal((await exited(node, container)).exitCode, 137);
    await node.crictl("rm", container);
    const events = plugin.names.filter((name) => /Container$/.test(name));
    assert.deepEqual(events, [
      "CreateContainer",
      "PostCreateContainer",
      "StartContainer",
      "PostStartContainer",
      "UpdateContainer",
      "PostUpdateContainer",
      "StopContainer",
      "RemoveContainer",
    ]);
    dies = true;
    const podFile = node.file("next.json", podConfig(node));
    const next = await node.crictl("runp", podFile);
    await node.crictl("create", "--no-pull", next, node.file("next-container.json", containerConfig(["true"])), podFile);
    assert.match(node.log, /NRI plugin is gone/);
    await node.crictl("rmp", "-f", pod);
    await node.crictl("rmp", "-fa");
    assert.deepEqual(await node.leftovers(), []);
  } finally {
    await node.close();
  }

  function limitOf({ cgroup }: TestNode): string {
    for (const file of [`/sys/fs/cgroup/memory${cgroup}/of-plugin/memory.limit_in_bytes`, `/sys/fs/cgroup${cgroup}/of-plugin/memory.max`])
      if (existsSync(file)) return readFileSync(file, "utf8").trim();
    return "no such cgroup";
  }
});

function processesOf(directory: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(join(directory, "nri-plugins"));
    } catch {
      return false;
    }
  });
}
