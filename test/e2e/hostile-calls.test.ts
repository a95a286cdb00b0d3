import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Client, credentials, type ServiceError, status } from "@grpc/grpc-js";
import fc from "fast-check";
import { runtime } from "../../api/cri/runtime/v1/api.js";
import { imageMethods, runtimeMethods } from "../../src/server/grpc-services.ts";
import { FeatureBed, type FeaturePod } from "./support/features.ts";
import { TestNode } from "./support/node.ts";
import { busybox } from "./support/pods.ts";

// Calls that no kubelet makes. Each is answered with a code that says whose fault it is, and the daemon is none the worse.
const { v1 } = runtime;
const node = new TestNode();
let client: Client;
let bed: FeatureBed;
let pod: FeaturePod;
let pid: number;

before(async () => {
  await node.start();
  pid = node.pid;
  await node.crictl("pull", busybox);
  client = new Client(`unix://${node.socket}`, credentials.createInsecure(), {
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
  });
  bed = new FeatureBed(node);
  pod = await bed.pod();
});
after(async () => {
  bed[Symbol.dispose]();
  client.close();
  assert.equal(node.pid, pid);
  assert.match(await node.crictl("version"), /crid/);
  assert.doesNotMatch(node.log, /fatal|nobody waited for/);
  await node.close();
});

const unary = [
  ...Object.entries(runtimeMethods).map(([name, { kind }]) => ({ name: `RuntimeService/${name}`, kind })),
  ...Object.entries(imageMethods).map(([name, { kind }]) => ({ name: `ImageService/${name}`, kind })),
].filter(({ kind }) => kind === "unary");

interface Answer {
  code: status;
  details: string;
}

/** Sends these bytes as the request. */
function send(method: string, request: Uint8Array, deadlineMs = 30_000): Promise<Answer> {
  return new Promise((resolve) => {
    const same = (bytes: Buffer): Buffer => bytes;
    client.makeUnaryRequest(
      `/runtime.v1.${method}`,
      same,
      same,
      Buffer.from(request),
      { deadline: Date.now() + deadlineMs },
      (error: ServiceError | null) => resolve({ code: error?.code ?? status.OK, details: error?.details ?? "" }),
    );
  });
}

const run = (change: runtime.v1.PodSandboxConfig.$Properties): Promise<Answer> =>
  send(
    "RuntimeService/RunPodSandbox",
    v1.RunPodSandboxRequest.encode({ config: { ...pod.config, metadata: { name: "x", namespace: "n", uid: "u" }, ...change } }).finish(),
  );

const create = (change: runtime.v1.ContainerConfig.$Properties): Promise<Answer> =>
  send(
    "RuntimeService/CreateContainer",
    v1.CreateContainerRequest.encode({
      podSandboxId: pod.id,
      sandboxConfig: pod.config,
      config: { metadata: { name: "x" }, image: { image: busybox }, command: ["true"], ...change },
    }).finish(),
  );

function refused({ code, details }: Answer, field: RegExp): void {
  assert.equal(status[code], "INVALID_ARGUMENT", details);
  assert.match(details, field);
}

test("an empty message to every call", async () => {
  const taken: string[] = [];
  for (const { name } of unary) {
    const { code, details } = await send(name, new Uint8Array());
    if (code === status.OK) taken.push(name.split("/")[1] ?? "");
    else assert.ok([status.INVALID_ARGUMENT, status.NOT_FOUND, status.UNIMPLEMENTED].includes(code), `${name}: ${status[code]} ${details}`);
  }
  // Lists, and what has no arguments.
  const asked = /^(List|Version|Status|RuntimeConfig|UpdateRuntimeConfig|ImageFsInfo)/;
  assert.deepEqual(
    taken.filter((name) => !asked.test(name)),
    [],
  );
});

test("an unknown id: not found where it is asked for, done where it is to be gone", async () => {
  const id = "f".repeat(64);
  const gone = new Set(["StopPodSandbox", "RemovePodSandbox", "StopContainer", "RemoveContainer"]);
  // The bytes of {id}, {id, cmd: ["true"]} and the like: the id is field 1 of all of them.
  const ofId = v1.StopContainerRequest.encode({ containerId: id }).finish();
  const more: Record<string, Uint8Array> = {
    ExecSync: v1.ExecSyncRequest.encode({ containerId: id, cmd: ["true"] }).finish(),
    Exec: v1.ExecRequest.encode({ containerId: id, cmd: ["true"], stdout: true }).finish(),
    Attach: v1.AttachRequest.encode({ containerId: id, stdout: true }).finish(),
    PortForward: v1.PortForwardRequest.encode({ podSandboxId: id, port: [80] }).finish(),
    UpdateContainerResources: v1.UpdateContainerResourcesRequest.encode({ containerId: id, linux: { cpuShares: 10n } }).finish(),
  };
  const ofContainers = "StartContainer ContainerStatus ReopenContainerLog ContainerStats StopContainer RemoveContainer".split(" ");
  const ofPods = "PodSandboxStatus PodSandboxStats StopPodSandbox RemovePodSandbox UpdatePodSandboxResources".split(" ");
  for (const name of [...ofContainers, ...ofPods, ...Object.keys(more)]) {
    const { code, details } = await send(`RuntimeService/${name}`, more[name] ?? ofId);
    assert.equal(status[code], gone.has(name) ? "OK" : "NOT_FOUND", `${name}: ${details}`);
  }
});

test("bytes that are no message, and messages that are mutated", async () => {
  for (const { name } of unary) {
    const { code } = await send(name, Buffer.from("ffffffffffffffffffff", "hex"));
    assert.equal(status[code], "INTERNAL", `${name}: as gRPC has it for what cannot be decoded`);
  }
  const seed = Buffer.from(
    v1.CreateContainerRequest.encode({
      podSandboxId: pod.id,
      config: { metadata: { name: "y" }, image: { image: "none-such" }, labels: { a: "b" } },
    }).finish(),
  );
  const mutated = fc.array(fc.tuple(fc.nat(seed.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(mutated, async (changes) => {
      const bytes = Buffer.from(seed);
      for (const [at, value] of changes) bytes[at] = value;
      const { code, details } = await send("RuntimeService/CreateContainer", bytes);
      const undecodable = code === status.INTERNAL && /deserializ/i.test(details);
      assert.ok(
        undecodable || [status.INVALID_ARGUMENT, status.NOT_FOUND, status.FAILED_PRECONDITION, status.UNIMPLEMENTED].includes(code),
        `${status[code]} ${details}`,
      );
    }),
    { numRuns: 300 },
  );
});

test("sizes: a message of 20 MB, annotations of 2 MB, names and environments that are too long", async () => {
  const big = "x".repeat(20_000_000);
  assert.equal(status[(await run({ annotations: { big } })).code], "RESOURCE_EXHAUSTED");
  refused(await run({ annotations: { big: "x".repeat(2_000_000) } }), /config\.annotations: are 2000003 bytes/);
  refused(await create({ labels: { big: "x".repeat(2_000_000) } }), /config\.labels: are/);
  refused(await run({ metadata: { name: "x".repeat(5000), namespace: "n", uid: "u" } }), /config\.metadata\.name: is longer/);
  refused(await create({ metadata: { name: "x".repeat(5000) } }), /config\.metadata\.name: is longer/);
  refused(await run({ hostname: "x".repeat(65) }), /hostname/);
  // One string of execve may have 128 KiB. runc executes last of all, when nobody waits for it any more: it says so in the container's log.
  const huge = await bed.run(pod, { container: { envs: [{ key: "BIG", value: Buffer.alloc(200_000, 97) }] } });
  assert.notEqual(huge.status.exitCode, 0);
  assert.match(huge.log, /argument list too long/i);
  // 4,000 of them that fit.
  const envs = Array.from({ length: 4000 }, (_, i) => ({ key: `E${i}`, value: Buffer.alloc(200, 97) }));
  assert.equal((await bed.run(pod, { script: "echo $E3999 | wc -c", container: { envs } })).output, "201");
});

test("names and paths: control characters, slashes, ways out of the log directory", async () => {
  for (const name of ["a\nb", "a\0b", "a\u001b[2Jb", "\u007f"]) {
    refused(await run({ metadata: { name, namespace: "n", uid: "u" } }), /config\.metadata\.name: .*control character/);
    refused(await run({ metadata: { name: "x", namespace: name, uid: "u" } }), /namespace/);
    refused(await create({ metadata: { name } }), /config\.metadata\.name/);
  }
  for (const logPath of ["../x", "a/../../x", "..", "a/", ".", "a\nb"]) refused(await create({ logPath }), /config\.log_path/);
  refused(await run({ logDirectory: "relative/logs" }), /config\.log_directory/);
  refused(await create({ mounts: [{ hostPath: "../etc", containerPath: "/x" }] }), /config\.mounts\[0\]\.host_path/);
  refused(await create({ mounts: [{ hostPath: "/etc", containerPath: "" }] }), /config\.mounts\[0\]\.container_path/);
  refused(await create({ envs: [{ key: "A=B", value: new Uint8Array() }] }), /config\.envs\[0\]\.key/);
  refused(await create({ command: ["a\0b"] }), /config\.command\[0\]/);
  // A slash in a name is no way to anywhere: names are not used as paths.
  const name = "../../../../tmp/x";
  const slashed = await bed.run(pod, { script: "echo fine", container: { metadata: { name } } });
  assert.equal(slashed.output, "fine");
  assert.equal(slashed.status.metadata?.name, name);
});

test("numbers: negative and huge timeouts, ids and limits", async () => {
  const containerId = await bed.start(pod, {});
  const exec = (timeout: bigint) =>
    send("RuntimeService/ExecSync", v1.ExecSyncRequest.encode({ containerId, cmd: ["true"], timeout }).finish());
  const stop = (timeout: bigint) => send("RuntimeService/StopContainer", v1.StopContainerRequest.encode({ containerId, timeout }).finish());
  for (const timeout of [-1n, -(2n ** 63n)]) {
    refused(await exec(timeout), /timeout/);
    refused(await stop(timeout), /timeout/);
  }
  assert.equal(status[(await exec(0n)).code], "OK", "0 is no limit");
  assert.equal(status[(await exec(3_000_000_000n)).code], "OK", "a century");
  refused(await exec(2n ** 63n - 1n), /timeout/);
  await bed.cri.removeContainer({ containerId });
  for (const value of [-1n, 2n ** 32n - 1n, 2n ** 63n - 1n]) {
    refused(await create({ linux: { securityContext: { runAsUser: { value } } } }), /run_as_user/);
    refused(await create({ linux: { securityContext: { supplementalGroups: [value] } } }), /supplemental_groups/);
  }
  refused(await create({ linux: { resources: { oomScoreAdj: 5000n } } }), /oom_score_adj/);
  refused(await create({ stopSignal: 9999 as runtime.v1.Signal }), /stop_signal/);
  refused(await run({ portMappings: [{ containerPort: 70_000 }] }), /port_mappings\[0\]\.container_port/);
});

test("a deadline that is over, or all but over: nothing is left, and the same call works afterwards", async () => {
  for (const ms of [0, 1, 20]) {
    const name = `late-${ms}`;
    const config = {
      ...pod.config,
      metadata: { name, namespace: "e2e", uid: name, attempt: 0 },
      logDirectory: join(node.directory, "logs", name),
    };
    const request = v1.RunPodSandboxRequest.encode({ config }).finish();
    const { code } = await send("RuntimeService/RunPodSandbox", request, ms);
    assert.ok([status.DEADLINE_EXCEEDED, status.CANCELLED].includes(code), status[code]);
    const { podSandboxId } = await bed.cri.runPodSandbox({ config });
    await bed.cri.removePodSandbox({ podSandboxId });
  }
  assert.deepEqual((await node.crictl("pods", "-q", "--no-trunc")).split("\n"), [pod.id]);
});
