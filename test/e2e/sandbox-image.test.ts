import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { TestNode } from "./support/node.ts";
import { busybox, containerConfig, podConfig, runContainer } from "./support/pods.ts";

const pause = "registry.k8s.io/pause:3.9";

test("sandbox.image: pulled when it is needed, pinned, and its pods outlive a crash of the daemon", async () => {
  const node = new TestNode({ config: { sandbox: { image: pause } } });
  await node.start();
  try {
    await node.crictl("pull", busybox);
    const { pod, container } = await runContainer(node, ["sleep", "1000"]);
    const { images } = await node.json<{ images: { repoTags: string[]; pinned: boolean }[] }>("images");
    assert.equal(images.find(({ repoTags }) => repoTags.includes(pause))?.pinned, true);
    const info = await node.json<{ config: { sandboxImage: string } }>("info");
    assert.equal(info.config.sandboxImage, pause, "kubeadm reads it there");
    assert.equal(await node.crictl("exec", "--sync", container, "ls", "/sys/class/net"), "eth0\nlo");

    await node.stop("SIGKILL");
    await node.start();
    await sleep(300);
    assert.equal((await node.json<{ status: { state: string } }>("inspectp", pod)).status.state, "SANDBOX_READY");
    await node.crictl("rmp", "-f", pod);
    assert.deepEqual(await node.leftovers(), []);
  } finally {
    await node.close();
  }
});

test("the root file system of a pod's image goes with the pod, also when sandbox.image is no longer set", async () => {
  const node = new TestNode({ config: { sandbox: { image: pause } } });
  await node.start();
  try {
    await node.crictl("pull", busybox);
    const { pod } = await runContainer(node, ["sleep", "1000"]);
    await node.stop();
    node.mergeConfig({ sandbox: {} });
    await node.start();
    await node.crictl("rmp", "-f", pod);
    assert.deepEqual(await node.leftovers(), []);
  } finally {
    await node.close();
  }
});

test("a pod with a user namespace runs on the built-in pause all the same", async () => {
  const node = new TestNode({ config: { sandbox: { image: pause } } });
  await node.start();
  try {
    await node.crictl("pull", busybox);
    const ids = [{ host_id: 100000, container_id: 0, length: 65536 }];
    const security_context = { namespace_options: { pid: 1, userns_options: { mode: 0, uids: ids, gids: ids } } };
    const podFile = node.file("pod.json", podConfig(node, { linux: { cgroup_parent: node.cgroup, security_context } }));
    const pod = await node.crictl("runp", podFile);
    const file = node.file("c.json", containerConfig(["sleep", "100"], { linux: { security_context } }));
    const container = await node.crictl("create", "--no-pull", pod, file, podFile);
    await node.crictl("start", container);
    assert.match(await node.crictl("exec", "--sync", container, "cat", "/proc/self/uid_map"), /^\s*0\s+100000\s+65536$/);
  } finally {
    await node.close();
  }
});
