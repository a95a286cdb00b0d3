import assert from "node:assert/strict";
import { chownSync, lstatSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { TestNode } from "./support/node.ts";
import { busybox, containerConfig, podConfig } from "./support/pods.ts";

const layered = "gcr.io/k8s-staging-cri-tools/test-image-predefined-group:latest";
const configured = "docker.io/crid/configured:1";
const first = 200_000;
const maps = [{ container_id: 0, host_id: first, length: 65_536 }];
const userns = { mode: 0, uids: maps, gids: maps };
const security = { namespace_options: { pid: 1, userns_options: userns } };
/** A volume whose owners are those of the host, seen through the pod's maps: what the kubelet asks for with hostUsers: false. */
const mapped = { uidMappings: maps, gidMappings: maps };

for (const { shim, snapshotter } of [
  { shim: "2.4", snapshotter: "erofs" },
  { shim: "1.7", snapshotter: "overlayfs" },
  { shim: "1.6", snapshotter: "erofs" },
] as const) {
  test(`a pod with a user namespace, shim ${shim}, layers as ${snapshotter}`, async () => {
    const node = new TestNode({ shim, config: { image: { snapshotter } } });
    await node.start();
    try {
      await node.crictl("pull", busybox);
      await node.crictl("pull", layered);
      await node.crictl("pull", configured);
      const podFile = node.file("pod.json", podConfig(node, { linux: { cgroup_parent: node.cgroup, security_context: security } }));
      const pod = await node.crictl("runp", podFile);
      const { status } = await node.json<{ status: { network: { ip: string } } }>("inspectp", pod);
      assert.match(status.network.ip, /^10\./);

      const volume = join(node.directory, "volume");
      mkdirSync(volume, { mode: 0o755 });
      writeFileSync(join(volume, "of-root"), "root's");
      writeFileSync(join(volume, "of-1000"), "1000's");
      chownSync(join(volume, "of-1000"), 1000, 1000);
      const run = async (name: string, image: string, more: Record<string, unknown> = {}): Promise<string> => {
        const config = {
          ...containerConfig(["sleep", "3600"]),
          metadata: { name, attempt: 1 },
          image: { image },
          log_path: `${name}.log`,
          linux: { security_context: { ...security, run_as_user: { value: 0 } } },
          ...more,
        };
        const container = await node.crictl("create", "--no-pull", pod, node.file(`${name}.json`, config), podFile);
        await node.crictl("start", container);
        return container;
      };
      const volumes = [
        { host_path: volume, container_path: "/volume", ...mapped },
        { image: { image: layered }, container_path: "/layered", readonly: true, ...mapped },
        { image: { image: busybox }, container_path: "/single", readonly: true, ...mapped },
      ];
      const container = await run("one", busybox, { mounts: volumes });
      const sh = (command: string, of = container): Promise<string> => node.crictl("exec", "--sync", of, "sh", "-c", command);

      assert.match(await sh("cat /proc/self/uid_map"), new RegExp(`^\\s*0\\s+${first}\\s+65536$`));
      assert.equal(await sh("stat -c %u:%g / /bin/busybox /tmp /etc/passwd | sort -u"), "0:0", "the image's files are root's");
      await sh("echo new > /new && chown 7:7 /new && echo more >> /etc/passwd && rm /bin/ls && mkdir /tmp/d");
      assert.equal(await sh("stat -c %u:%g /new"), "7:7");
      assert.equal(await sh("cd /volume && stat -c %u:%g of-root of-1000 && touch made"), "0:0\n1000:1000");
      const { uid, gid } = lstatSync(join(volume, "made"));
      assert.deepEqual([uid, gid], [0, 0], "on the host the volume's files keep host ids");
      assert.equal(await sh("stat -c %u /layered/bin/busybox /single/bin/busybox | sort -u"), "0", "image volumes are root's");
      assert.match(await sh("grep default-user /layered/etc/passwd"), /1000/);
      assert.notEqual((await node.tryCrictl("exec", "--sync", container, "touch", "/layered/no")).status, 0);
      await sh("echo x > /dev/shm/x && stat -c %u:%g /dev/shm/x /dev/null /etc/hostname /etc/resolv.conf && test -s /etc/resolv.conf");
      assert.match(await sh("ifconfig eth0; ifconfig lo"), /UP[\s\S]*UP/);
      assert.equal(readFileSync("/etc/passwd", "utf8").includes("more"), false);

      const second = await run("two", layered);
      assert.equal(await sh("stat -c %u /bin/busybox /etc/passwd | sort -u; id -u", second), "0\n0");
      assert.equal(await sh("cat /dev/shm/x", second), "x", "the pod's shared memory is shared");
      const third = await run("three", configured);
      assert.equal(
        await sh("stat -c %u /vol /vol/from-image | sort -u; echo x > /vol/y; cat /vol/from-image", third),
        "0\nfrom the image",
        "volumes that the image declares",
      );

      // Over a restart of the daemon, then all is taken away.
      await node.stop("SIGKILL");
      await node.start();
      assert.equal(await sh("cat /new"), "new");
      const fourth = await run("four", layered, { mounts: volumes });
      assert.equal(await sh("stat -c %u / /layered/etc/passwd | sort -u", fourth), "0");
    } finally {
      await node.close();
    }
  });
}

test("a pod with a user namespace on the host's network", async () => {
  const node = new TestNode();
  await node.start();
  try {
    await node.crictl("pull", busybox);
    const onHost = { namespace_options: { ...security.namespace_options, network: 2 } };
    const podFile = node.file("pod.json", podConfig(node, { linux: { cgroup_parent: node.cgroup, security_context: onHost } }));
    const pod = await node.crictl("runp", podFile);
    const config = { ...containerConfig(["sleep", "3600"]), linux: { security_context: onHost } };
    const container = await node.crictl("create", "--no-pull", pod, node.file("c.json", config), podFile);
    await node.crictl("start", container);
    const inside = async (...command: string[]): Promise<string> => node.crictl("exec", "--sync", container, ...command);
    assert.equal(await inside("readlink", "/proc/self/ns/net"), readlinkSync("/proc/self/ns/net"));
    assert.notEqual(await inside("readlink", "/proc/self/ns/user"), readlinkSync("/proc/self/ns/user"));
    assert.match(await inside("cat", "/proc/self/uid_map"), new RegExp(`^\\s*0\\s+${first}\\s+65536$`));
    // sysfs belongs to the network namespace, which is not this user namespace's: it is the host's, read-only.
    assert.match(await inside("ls", "/sys/class/net"), /lo/);
    assert.notEqual((await node.tryCrictl("exec", "--sync", container, "sh", "-c", "echo 1 > /sys/class/net/lo/mtu")).status, 0);
    const { features } = await node.json<{ features: { user_namespaces_host_network?: boolean } }>("info");
    assert.equal(features.user_namespaces_host_network, true);
    await node.crictl("rmp", "-f", pod);
  } finally {
    await node.close();
  }
});
