import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { TestNode } from "./support/node.ts";
import { busybox, containerConfig, podConfig } from "./support/pods.ts";

test("CDI: devices by field and by annotation, of a file that comes while crid runs; a broken file is told and harms nobody", async () => {
  const node = new TestNode();
  const dirs = [join(node.directory, "cdi-etc"), join(node.directory, "cdi-run")];
  const [etc = "", run = ""] = dirs;
  node.mergeConfig({ cdi: { dirs } });
  await node.start();
  try {
    await node.crictl("pull", busybox);
    const podFile = node.file("pod.json", podConfig(node));
    const pod = await node.crictl("runp", podFile);
    const create = (name: string, more: Record<string, unknown>) =>
      node.tryCrictl(
        "create",
        "--no-pull",
        pod,
        node.file(`${name}.json`, containerConfig(["sleep", "3600"], { metadata: { name, attempt: 1 }, log_path: `${name}.log`, ...more })),
        podFile,
      );
    const field = { CDI_devices: [{ name: "vendor.example/thing=0" }] };

    const early = await create("early", field);
    assert.notEqual(early.status, 0);
    assert.match(
      early.stderr,
      /FailedPrecondition.*unresolvable CDI devices vendor\.example\/thing=0: no usable spec file has devices of vendor\.example\/thing/,
    );
    assert.ok(early.stderr.includes(`${etc} and ${run}`), early.stderr);

    const library = join(node.directory, "library");
    const seen = join(node.directory, "hook-ran");
    const hook = join(node.directory, "hook.sh");
    mkdirSync(library);
    writeFileSync(join(library, "libvendor"), "of the vendor");
    writeFileSync(hook, `#!/bin/sh\ncat > ${seen}\necho "$@ $FROM" >> ${seen}.args\n`);
    chmodSync(hook, 0o755);
    mkdirSync(run);
    writeFileSync(
      join(run, "thing.yaml"),
      `cdiVersion: 0.7.0
kind: vendor.example/thing
containerEdits:
  env: [VENDOR=example]
  hooks:
  - {hookName: createRuntime, path: ${hook}, args: [hook, one], env: [FROM=cdi]}
devices:
- name: 0
  containerEdits:
    env: [THING=zero]
    additionalGids: [4242]
    deviceNodes:
    - {path: /dev/vendor0, hostPath: /dev/null, permissions: rw, fileMode: 0620, uid: 7, gid: 8}
    mounts:
    - {hostPath: ${library}, containerPath: /usr/lib/vendor, options: [ro, rbind]}
- name: 1
  containerEdits:
    deviceNodes: [{path: /dev/vendor1, hostPath: /dev/zero}]
`,
    );
    mkdirSync(etc);
    writeFileSync(join(etc, "broken.json"), '{"cdiVersion": "0.3.0", "kind": "broken.example/x"');

    const start = async (name: string, more: Record<string, unknown>): Promise<(command: string) => Promise<string>> => {
      const { status, stdout, stderr } = await create(name, more);
      assert.equal(status, 0, stderr);
      const id = stdout.trim();
      await node.crictl("start", id);
      return (command) => node.crictl("exec", "--sync", id, "sh", "-c", command);
    };
    const zero = await start("zero", field);
    assert.equal(await zero("echo $VENDOR $THING"), "example zero");
    assert.equal(await zero("stat -c '%F %t:%T %a %u:%g' /dev/vendor0"), "character special file 1:3 620 7:8");
    assert.equal(await zero("echo x > /dev/vendor0 && wc -c < /dev/vendor0 | tr -d ' '"), "0", "the device cgroup lets it");
    assert.equal(
      await zero("cat /usr/lib/vendor/libvendor; touch /usr/lib/vendor/x 2>/dev/null || echo ' read-only'"),
      "of the vendor read-only",
    );
    assert.match(await zero("id -G"), /\b4242\b/, "a process by exec too");
    const state = JSON.parse(readFileSync(seen, "utf8")) as { status: string };
    assert.equal(state.status, "creating");
    assert.equal(readFileSync(`${seen}.args`, "utf8"), "one cdi\n");

    // By annotation and field: each once, the spec's own edits once.
    const both = await start("both", { ...field, annotations: { "cdi.k8s.io/plugin": "vendor.example/thing=1,vendor.example/thing=0" } });
    assert.equal(await both("ls /dev/vendor0 /dev/vendor1; head -c 2 /dev/vendor1 | od -An -tx1"), "/dev/vendor0\n/dev/vendor1\n 00 00");
    assert.equal(readFileSync(`${seen}.args`, "utf8"), "one cdi\none cdi\n");
    const wrong = await create("wrong", { annotations: { "cdi.k8s.io/plugin": "thing0" } });
    assert.match(wrong.stderr, /InvalidArgument.*annotations.*cdi\.k8s\.io\/plugin.*: invalid CDI device name .*thing0/);

    // An interface of the host moves into the pod.
    const link = await node.command("ip", ["link", "add", "cdi-e2e0", "type", "veth", "peer", "name", "cdi-e2e1"]);
    assert.equal(link.status, 0, link.stderr);
    const fast = { name: "fast", containerEdits: { netDevices: [{ hostInterfaceName: "cdi-e2e0", name: "fast0" }] } };
    writeFileSync(join(run, "net.json"), JSON.stringify({ cdiVersion: "1.1.0", kind: "vendor.example/net", devices: [fast] }));
    const net = await start("net", { CDI_devices: [{ name: "vendor.example/net=fast" }] });
    assert.match(await net("cat /proc/net/dev"), /\bfast0:/);
    rmSync(join(run, "net.json"));

    // The broken file, where an operator looks.
    const { cdi } = JSON.parse(await node.crictl("info")) as { cdi: { devices: Record<string, string>; errors: Record<string, string[]> } };
    assert.deepEqual(cdi.devices, { "vendor.example/thing=0": join(run, "thing.yaml"), "vendor.example/thing=1": join(run, "thing.yaml") });
    assert.deepEqual(Object.keys(cdi.errors), [join(etc, "broken.json")]);
    assert.equal(node.log.split("\n").filter((line) => line.includes("WARN") && line.includes("broken.json")).length, 1, "once in the log");
    const doctor = await node.command(join(import.meta.dirname, "../../dist/bin/crid"), [
      "doctor",
      "--config",
      join(node.directory, "config.yaml"),
    ]);
    assert.match(doctor.stdout, /CDI spec \S+broken\.json/);
    assert.match(doctor.stdout, /2: vendor\.example\/thing=0, vendor\.example\/thing=1/);

    // A file that goes takes its devices along; one that comes by rename is there at once. Containers keep what they have.
    renameSync(join(run, "thing.yaml"), join(etc, "thing.yaml"));
    await start("moved", field);
    rmSync(join(etc, "thing.yaml"));
    assert.match((await create("late", field)).stderr, /unresolvable CDI devices/);
    assert.equal(await zero("echo $THING"), "zero");
    await node.stop("SIGKILL");
    await node.start();
    assert.equal(await zero("echo $THING"), "zero", "a process by exec, after a restart");
  } finally {
    await node.close();
  }
});
