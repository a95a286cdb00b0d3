import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { TestNode } from "./support/node.ts";
import { busybox, containerConfig, podConfig } from "./support/pods.ts";

/** The disk that the tests' directory lies on: throttling takes no partition. */
function disk(): { path: string; number: string } | undefined {
  for (const line of readFileSync("/proc/partitions", "utf8").split("\n").slice(2)) {
    const [major, minor, , name = ""] = line.trim().split(/\s+/);
    const path = `/dev/${name}`;
    if (name !== "" && existsSync(`/sys/block/${name}`) && existsSync(path) && statSync(path).isBlockDevice())
      return { path, number: `${major}:${minor}` };
  }
  return undefined;
}

test("block I/O and RDT classes by annotation: the limits stand in the cgroup; what cannot be had is refused, or ignored where configured", async (t) => {
  const device = disk();
  const controller = "/sys/fs/cgroup/blkio";
  if (device === undefined || !existsSync(controller)) return t.skip("needs a disk in /dev and the blkio controller of cgroup v1");
  const node = new TestNode();
  const configFile = join(node.directory, "blockio.yaml");
  node.mergeConfig({ ...runtimeWith(node, { blockio: { configFile } }) });
  await node.start();
  try {
    await node.crictl("pull", busybox);
    const podAnnotations = { "blockio.resources.beta.kubernetes.io/pod": "slow" };
    const podFile = node.file("pod.json", podConfig(node, { annotations: podAnnotations }));
    const pod = await node.crictl("runp", podFile);
    const create = (name: string, annotations: Record<string, string> = {}) =>
      node.tryCrictl(
        "create",
        "--no-pull",
        pod,
        node.file(
          `${name}.json`,
          containerConfig(["sleep", "3600"], { metadata: { name, attempt: 1 }, log_path: `${name}.log`, annotations }),
        ),
        podFile,
      );
    const limits = (id: string, file: string) =>
      readFileSync(join(controller, node.cgroup, id, `blkio.throttle.${file}_device`), "utf8").trim();
    const start = async (name: string, annotations: Record<string, string> = {}): Promise<string> => {
      const { status, stdout, stderr } = await create(name, annotations);
      assert.equal(status, 0, stderr);
      await node.crictl("start", stdout.trim());
      return stdout.trim();
    };

    assert.match(
      (await create("none")).stderr,
      /FailedPrecondition.*block I\/O class .*slow.*runtime\.blockio\.configFile .* cannot be used: ENOENT/,
    );
    writeFileSync(
      configFile,
      `Classes:
  slow: [{Devices: ["${device.path}"], ThrottleReadBps: 50M, ThrottleWriteIOPS: 5k}]
  slower: [{Devices: ["${device.path}"], ThrottleReadBps: 1Mi}]
`,
    );
    const slow = await start("slow");
    assert.equal(limits(slow, "read_bps"), `${device.number} 50000000`);
    assert.equal(limits(slow, "write_iops"), `${device.number} 5000`);
    const slower = await start("slower", { "io.kubernetes.cri.blockio-class": "slower" });
    assert.equal(limits(slower, "read_bps"), `${device.number} 1048576`);
    assert.equal(limits(slower, "write_iops"), "");
    // An update of other resources leaves them alone.
    await node.crictl("update", "--cpu-share", "512", slower);
    assert.equal(limits(slower, "read_bps"), `${device.number} 1048576`);
    assert.match(
      (await create("unknown", { "io.kubernetes.cri.blockio-class": "fast" })).stderr,
      /has no such class \(it has: slow, slower\)/,
    );

    const info = JSON.parse(await node.crictl("info")) as { blockio: { classes: string[]; error: string }; rdt: { path: string } };
    assert.deepEqual([info.blockio.classes, info.blockio.error], [["slow", "slower"], ""]);
    if (info.rdt.path !== "") return t.diagnostic("resctrl is mounted here: nothing to refuse");
    const rdt = { "io.kubernetes.cri.rdt-class": "gold" };
    assert.match((await create("rdt", rdt)).stderr, /FailedPrecondition.*RDT class .*gold.*resctrl is not mounted/);

    await node.stop();
    node.mergeConfig(runtimeWith(node, { rdt: { ignoreNotEnabledErrors: true }, blockio: { ignoreNotEnabledErrors: true } }));
    await node.start();
    assert.equal(limits(await start("ignored", rdt), "read_bps"), "");
  } finally {
    await node.close();
  }
});

/** The runtime section of the configuration with more keys. */
function runtimeWith(node: TestNode, more: object): object {
  const { runtime } = JSON.parse(readFileSync(join(node.directory, "config.yaml"), "utf8")) as { runtime: object };
  return { runtime: { ...runtime, ...more } };
}
