import assert from "node:assert/strict";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CriClient } from "./support/cri.ts";
import { TestNode } from "./support/node.ts";
import { busybox } from "./support/pods.ts";

// Callers that go away, come at the same time, or send what nobody should.
const node = new TestNode();
let cri: CriClient;
let serial = 0;

before(async () => {
  await node.start();
  await node.crictl("pull", busybox);
  cri = new CriClient(node.socket);
});
after(async () => {
  cri[Symbol.dispose]();
  await node.close();
});

const pod = (more: object = {}) => {
  const name = `callers-${++serial}`;
  return {
    metadata: { name, namespace: "e2e", uid: name, attempt: 0 },
    logDirectory: join(node.directory, "logs", name),
    linux: { cgroupParent: node.cgroup },
    ...more,
  };
};
const container = (more: object = {}) => ({
  metadata: { name: `c${++serial}`, attempt: 0 },
  image: { image: busybox },
  command: ["sleep", "1000"],
  logPath: `c${serial}.log`,
  linux: { securityContext: { namespaceOptions: { pid: 1 } } },
  ...more,
});
const gone = (call: Promise<unknown>): Promise<unknown> => call.catch(() => undefined);
const openFiles = (): number => readdirSync(`/proc/${node.pid}/fd`).length;

test("the socket is for root and its group", () => {
  assert.equal(statSync(node.socket).mode & 0o7777, 0o660);
});

test("a caller that goes away in the middle of any call: the same call works, and nothing is left", async () => {
  const nginx = { image: { image: "registry.k8s.io/e2e-test-images/nginx:1.14-2" } };
  const before = openFiles();
  for (const cancelAfterMs of [1, 15, 45, 120]) {
    const leave = { cancelAfterMs };
    const config = pod();
    await gone(cri.runPodSandbox({ config }, leave));
    const { podSandboxId } = await cri.runPodSandbox({ config });
    const { items } = await cri.listPodSandbox({});
    assert.equal(items.filter(({ metadata }) => metadata?.name === config.metadata.name).length, 1);

    const create = { podSandboxId, config: container(), sandboxConfig: config };
    await gone(cri.createContainer(create, leave));
    const { containerId } = await cri.createContainer(create);
    await gone(cri.startContainer({ containerId }, leave));
    // The first may have come to its end, which the second is told.
    await cri.startContainer({ containerId }).catch((error: Error) => assert.match(error.message, /must be CONTAINER_CREATED/));
    assert.equal((await cri.containerStatus({ containerId })).status?.state, 1);

    await gone(cri.execSync({ containerId, cmd: ["sleep", "444"] }, leave));
    let left = "";
    for (let attempt = 0; attempt < 40 && left !== "0\n"; attempt++) {
      await sleep(50);
      const { stdout } = await cri.execSync({ containerId, cmd: ["sh", "-c", "ps -o args | grep -c '[s]leep 444'"] });
      left = Buffer.from(stdout).toString();
    }
    assert.equal(left, "0\n", "an exec whose caller has gone is killed");

    await gone(cri.stopContainer({ containerId, timeout: 5n }, leave));
    await cri.stopContainer({ containerId, timeout: 0n });
    await gone(cri.removeContainer({ containerId }, leave));
    await cri.removeContainer({ containerId });
    await gone(cri.stopPodSandbox({ podSandboxId }, leave));
    await cri.stopPodSandbox({ podSandboxId });
    await gone(cri.removePodSandbox({ podSandboxId }, leave));
    await cri.removePodSandbox({ podSandboxId });

    await gone(cri.pullImage(nginx, leave));
    await cri.pullImage(nginx);
    await gone(cri.removeImage(nginx, leave));
    await cri.removeImage(nginx);
  }
  assert.deepEqual(await node.leftovers(), []);
  assert.ok(openFiles() <= before + 3, `${openFiles()} open files, ${before} before`);
});

test("many calls on one pod at a time, and its end among them", async () => {
  const config = pod();
  const { podSandboxId } = await cri.runPodSandbox({ config });
  const make = async (): Promise<string> => {
    const { containerId } = await cri.createContainer({ podSandboxId, config: container(), sandboxConfig: config });
    await cri.startContainer({ containerId });
    return containerId;
  };
  const containerId = await make();
  const come = async (): Promise<void> => {
    const id = await make();
    await cri.stopContainer({ containerId: id, timeout: 0n });
    await cri.removeContainer({ containerId: id });
  };
  const calls = Array.from({ length: 30 }, (_, index): Promise<unknown> => {
    switch (index % 5) {
      case 0:
        return come();
      case 1:
        return cri.updateContainerResources({ containerId, linux: { cpuShares: BigInt(100 + index) } });
      case 2:
        return cri.reopenContainerLog({ containerId });
      default:
        return cri.execSync({ containerId, cmd: ["true"] });
    }
  });
  await Promise.all(calls);
  const ends = [cri.stopPodSandbox({ podSandboxId }), cri.removePodSandbox({ podSandboxId }), cri.removePodSandbox({ podSandboxId })];
  await Promise.all([...ends, gone(cri.execSync({ containerId, cmd: ["true"] })), gone(make()), gone(come())]);
  assert.deepEqual(await node.leftovers(), []);
});

test("fields that reach for more than their own are refused", async () => {
  const config = pod();
  const { podSandboxId } = await cri.runPodSandbox({ config });
  const create = (more: object) => cri.createContainer({ podSandboxId, config: container(more), sandboxConfig: config });
  const invalid = (field: RegExp) => (error: Error) => {
    assert.match(error.message, /INVALID_ARGUMENT/);
    assert.match(error.message, field);
    return true;
  };
  await assert.rejects(create({ logPath: "../../../../../../tmp/crid-escape.log" }), invalid(/config\.log_path/));
  assert.ok(!existsSync("/tmp/crid-escape.log"));
  await assert.rejects(create({ metadata: { name: "a\nb", attempt: 0 } }), invalid(/config\.metadata\.name/));
  await assert.rejects(
    cri.runPodSandbox({ config: pod({ dnsConfig: { searches: ["a\nnameserver 6.6.6.6"] } }) }),
    invalid(/dns_config\.searches\[0\]/),
  );
  await assert.rejects(cri.runPodSandbox({ config: pod({ hostname: "a\nb" }) }), invalid(/config\.hostname/));
  await assert.rejects(
    cri.runPodSandbox({
      config: pod({ linux: { sysctls: { "net.core.somaxconn": "1" }, securityContext: { namespaceOptions: { network: 2 } } } }),
    }),
    invalid(/net\.core\.somaxconn/),
  );
  // A path of the image's own, as far up as it goes, stays in the image.
  const { containerId } = await create({
    mounts: [{ image: { image: busybox }, imageSubPath: "../../../../etc", containerPath: "/v", readonly: true }],
  });
  await cri.startContainer({ containerId });
  const { stdout } = await cri.execSync({ containerId, cmd: ["cat", "/v/passwd"] });
  const own = await cri.execSync({ containerId, cmd: ["cat", "/etc/passwd"] });
  assert.equal(Buffer.from(stdout).toString(), Buffer.from(own.stdout).toString());
  await cri.removePodSandbox({ podSandboxId });
});
