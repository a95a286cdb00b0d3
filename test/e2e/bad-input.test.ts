import assert from "node:assert/strict";
import { chmodSync, copyFileSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestNode } from "./support/node.ts";
import { busybox, containerConfig, exited, podConfig } from "./support/pods.ts";

// Each wrong input gets an error that names the object, and leaves nothing; mended, the same call works.
const node = new TestNode();
let pod = "";
let podFile = "";
let serial = 0;

before(async () => {
  await node.start();
  await node.crictl("pull", busybox);
  podFile = node.file("pod.json", podConfig(node));
  pod = await node.crictl("runp", podFile);
});
after(() => node.close());

/** `crictl create`: what it says when it fails, or the container's id. */
async function create(more: Record<string, unknown>, command = ["sleep", "100"]): Promise<{ id: string; error: string }> {
  const config = containerConfig(command, { metadata: { name: `c${++serial}`, attempt: 1 }, log_path: `c${serial}.log`, ...more });
  const file = node.file(`c${serial}.json`, config);
  const { status, stdout, stderr } = await node.tryCrictl("create", "--no-pull", pod, file, podFile);
  return { id: status === 0 ? stdout.trim() : "", error: stderr };
}

async function runs(id: string): Promise<void> {
  await node.crictl("start", id);
  await node.crictl("rm", "-f", id);
}

test("an unknown id: NotFound where it is asked for, success where it is to be gone", async () => {
  const unknown = "0123456789ab";
  for (const args of [
    ["inspect", unknown],
    ["inspectp", unknown],
    ["start", unknown],
    ["exec", "--sync", unknown, "true"],
    ["logs", unknown],
  ]) {
    const { status, stderr } = await node.tryCrictl(...args);
    assert.notEqual(status, 0, args.join(" "));
    assert.match(stderr, /NotFound|not found/, args.join(" "));
  }
});

test("a pod without a name, uid or namespace, or with a wrong sysctl, is refused with the field's name", async () => {
  for (const [metadata, field] of [
    [{ namespace: "n", uid: "u" }, /name/],
    [{ name: "p", uid: "u" }, /namespace/],
    [{ name: "p", namespace: "n" }, /uid/],
  ] as const) {
    const { status, stderr } = await node.tryCrictl("runp", node.file("bad-pod.json", { ...podConfig(node), metadata }));
    // crictl fills in what it can; what reaches crid without the field must be refused.
    if (status !== 0) assert.match(stderr, field);
    else await node.crictl("rmp", "-f", "-a");
  }
  pod = await node.crictl("runp", podFile).catch(() => pod);
  const sysctl = podConfig(node, { linux: { cgroup_parent: node.cgroup, sysctls: { "kernel.no_such_thing": "1" } } });
  const { stderr } = await node.tryCrictl("runp", node.file("bad-sysctl.json", sysctl));
  assert.match(stderr, /no_such_thing/);
});

test("a missing host path: named; the same call works once it is there", async () => {
  const host = join(node.directory, "not/there.sock");
  const mounts = [{ host_path: host, container_path: "/mounted" }];
  // The kubelet makes a directory of a missing hostPath itself; what reaches a runtime missing is made by it too, as a directory.
  const first = await create({ mounts });
  if (first.id === "") {
    assert.match(first.error, /not\/there\.sock/);
    mkdirSync(host, { recursive: true });
  }
  await runs(first.id === "" ? (await create({ mounts })).id : first.id);
});

test("a missing image, user, group, binary and working directory", async () => {
  const image = await create({ image: { image: "registry.k8s.io/no/such:1" } });
  assert.match(image.error, /registry\.k8s\.io\/no\/such:1/);

  const user = await create({ linux: { security_context: { run_as_username: "nobody-here" } } });
  const message = user.id === "" ? user.error : (await node.tryCrictl("start", user.id)).stderr;
  assert.match(message, /nobody-here/);

  const binary = await create({}, ["/no/such/binary"]);
  const started = await node.tryCrictl("start", binary.id);
  assert.match(started.stderr, /\/no\/such\/binary/);
  const status = await exited(node, binary.id);
  assert.deepEqual([status.exitCode, status.reason], [128, "StartError"]);
  await node.crictl("rm", binary.id);
});

test("a wrong device, capability, seccomp profile and cpuset", async () => {
  const device = await create({ devices: [{ host_path: "/dev/no-such-device", container_path: "/dev/x", permissions: "rwm" }] });
  assert.match(device.error, /no-such-device/);
  const capability = await create({ linux: { security_context: { capabilities: { add_capabilities: ["FLY"] } } } });
  assert.match(capability.error, /FLY/);
  const seccomp = await create({
    linux: { security_context: { seccomp: { profile_type: 2, localhost_ref: `${node.directory}/no-profile.json` } } },
  });
  assert.match(seccomp.error, /no-profile\.json/);
  const cpuset = await create({ linux: { resources: { cpuset_cpus: "900-901" } } });
  const message = cpuset.id === "" ? cpuset.error : (await node.tryCrictl("start", cpuset.id)).stderr;
  assert.match(message, /cpuset/);
});

test("an unknown runtime handler, and one whose shim is not there", async () => {
  const { stderr } = await node.tryCrictl("runp", "--runtime", "no-such-handler", node.file("p2.json", podConfig(node)));
  assert.match(stderr, /no-such-handler/);

  const bin = join(node.directory, "bin");
  mkdirSync(bin);
  const shim = join(bin, "shim");
  const other = new TestNode({
    config: { runtime: { handlers: { runc: { shim, binary: join(import.meta.dirname, "../../.tools/bin/runc") } } } },
  });
  await other.start();
  try {
    const file = other.file("pod.json", podConfig(other));
    const missing = await other.tryCrictl("runp", file);
    assert.match(missing.stderr, new RegExp(shim));
    copyFileSync(join(import.meta.dirname, "../../.tools/bin/containerd-shim-runc-v2"), shim);
    chmodSync(shim, 0o755);
    await other.crictl("runp", file);
  } finally {
    await other.close();
  }
});

test("a plugin that fails says so, with its own words; the pod works once it is mended", async () => {
  const plugins = join(node.directory, "plugins");
  mkdirSync(plugins);
  const tools = join(import.meta.dirname, "../../.tools/cni/bin");
  const plugin = join(plugins, "moody");
  const script = (body: string): void => writeFileSync(plugin, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  const other = new TestNode({ conflist: null });
  other.mergeConfig({ cni: { binDirs: [plugins, tools], confDir: other.confDir } });
  other.writeConflist({ cniVersion: "1.0.0", name: "moody", plugins: [{ type: "moody" }] });
  script('echo "the moon is wrong" >&2; echo \'{"code":11,"msg":"try later","details":"moon"}\'; exit 1');
  await other.start();
  try {
    const file = other.file("pod.json", podConfig(other));
    const { stderr } = await other.tryCrictl("runp", file);
    assert.match(stderr, /moody/);
    assert.match(stderr, /try later/);
    assert.match(stderr, /the moon is wrong/);
    assert.equal(await other.crictl("pods", "-q"), "");
    script(
      'if [ "$CNI_COMMAND" = ADD ]; then echo \'{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"x"}],"ips":[{"address":"10.1.2.3/24","interface":0}]}\'; fi',
    );
    await other.crictl("runp", file);
  } finally {
    await other.close();
  }
});

test("a failing DEL does not keep a pod; it is tried again until it works", async () => {
  const plugins = join(node.directory, "plugins-del");
  mkdirSync(plugins);
  const seen = join(plugins, "deleted");
  const other = new TestNode({ conflist: null });
  other.mergeConfig({ cni: { binDirs: [plugins], confDir: other.confDir } });
  other.writeConflist({ cniVersion: "1.0.0", name: "sticky", plugins: [{ type: "sticky" }] });
  const answer = `echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"x"}],"ips":[{"address":"10.1.2.4/24","interface":0}]}'`;
  const plugin = (onDel: string): void => {
    writeFileSync(join(plugins, "new"), `#!/bin/sh\ncase $CNI_COMMAND in ADD) ${answer};; DEL) ${onDel};; esac\n`, { mode: 0o755 });
    renameSync(join(plugins, "new"), join(plugins, "sticky"));
  };
  plugin("echo no >&2; exit 1");
  await other.start();
  try {
    const id = await other.crictl("runp", other.file("pod.json", podConfig(other)));
    await other.crictl("stopp", id);
    await other.crictl("rmp", id);
    assert.equal(await other.crictl("pods", "-q"), "");
    plugin(`echo "$CNI_CONTAINERID" >> ${seen}`);
    for (let attempt = 0; attempt < 300; attempt++) {
      const { stdout } = await other.command("cat", [seen]);
      if (stdout.includes(id)) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.fail("the DEL was not tried again within 30 s");
  } finally {
    await other.close();
  }
});
